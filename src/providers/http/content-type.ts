import type { ParsedCall } from "../../ports/provider-format.ts";

/** Whether an answer is a server-sent stream: by its content type, or where it has none by what was asked for. */
export function isStream(call: ParsedCall, contentType: string): boolean {
  return contentType === "" ? call.stream : contentType.toLowerCase().includes("text/event-stream");
}
