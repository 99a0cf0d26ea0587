import type { ParsedCall, UsageMeter } from "../../ports/provider-format.ts";
import { AnswerMeter, UNCOUNTED_METER } from "../http/answer-meter.ts";
import { isStream } from "../http/content-type.ts";
import { EmittedText } from "../http/emitted-text.ts";
import { StreamMeter } from "../http/stream-meter.ts";
import { MessageEvents } from "./message-events.ts";
import { readUsage } from "./usage.ts";

/** See `ProviderFormat.meter`. */
export function meter(call: ParsedCall, status: number, contentType: string): UsageMeter {
  if (call.endpoint !== "messages" || status < 200 || status >= 300) return UNCOUNTED_METER;
  if (!isStream(call, contentType)) return new AnswerMeter(call, readUsage);
  return new StreamMeter(new MessageEvents(call, new EmittedText(call.model)), call.usageSpliced);
}
