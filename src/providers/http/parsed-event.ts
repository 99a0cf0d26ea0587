import { eventData } from "./sse-framing.ts";

/** The data of an event, parsed; as text where it is no JSON; `undefined` where there is none. Its texts have one character a byte. */
export function parsedEvent(event: string): unknown {
  const data = eventData(event);
  if (data === undefined) return undefined;
  try {
    return JSON.parse(data);
  } catch {
    return data.trim();
  }
}
