import type { Endpoint, ParsedCall } from "../../ports/provider-format.ts";

/** A call without model tokens: its body, which may be anything, is not read. */
export function uncountedCall(endpoint: Endpoint, body: Buffer): ParsedCall {
  return {
    endpoint,
    model: "",
    stream: false,
    estimate: { inputTokens: 0, outputTokensMax: 0 },
    upstreamBody: body,
    usageSpliced: false,
  };
}
