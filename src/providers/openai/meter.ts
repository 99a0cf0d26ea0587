import type { ParsedCall, UsageMeter } from "../../ports/provider-format.ts";
import { AnswerMeter, UNCOUNTED_METER } from "../http/answer-meter.ts";
import { isStream } from "../http/content-type.ts";
import { EmittedText } from "../http/emitted-text.ts";
import { StreamMeter } from "../http/stream-meter.ts";
import { ChatEvents } from "./chat-events.ts";
import { ResponsesEvents } from "./responses-events.ts";
import { readUsage } from "./usage.ts";

/** Recorded streams of the Responses API report this much more than their texts; those of chat completions do not. */
const RESPONSE_TOKENS = 2;

/** See `ProviderFormat.meter`. */
export function meter(call: ParsedCall, status: number, contentType: string): UsageMeter {
  if (status < 200 || status >= 300) return UNCOUNTED_METER;
  switch (call.endpoint) {
    case "chat_completions":
    case "completions":
    case "responses":
    case "embeddings": {
      if (!isStream(call, contentType)) return new AnswerMeter(call, readUsage);
      const reader =
        call.endpoint === "responses"
          ? new ResponsesEvents(call, new EmittedText(call.model, RESPONSE_TOKENS))
          : new ChatEvents(call, new EmittedText(call.model));
      return new StreamMeter(reader, call.usageSpliced);
    }
    case "messages":
    case "count_tokens":
    case "models":
    case "other":
      return UNCOUNTED_METER;
  }
}
