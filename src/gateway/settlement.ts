import type { Usage } from "../core/estimate/usage.ts";
import type { UsageSource } from "../engine/held-reservation.ts";
import type { MeteredUsage, ParsedCall } from "../ports/provider-format.ts";

/** How a call ends in the books: what it used is charged, or all that it holds goes back. */
export type Settlement =
  | { readonly kind: "settle"; readonly usage: Usage | undefined; readonly source?: UsageSource }
  | { readonly kind: "release" };

/** What is known of a call when it is over. */
export interface CallEnd {
  /** Absent where it passed through unread. */
  readonly call: ParsedCall | undefined;
  /** Absent where no answer began. */
  readonly metered: MeteredUsage | undefined;
  /** The answer did not come to its end. */
  readonly isCut: boolean;
  /** Bytes of the call may have reached the provider. */
  readonly isSent: boolean;
  /** The answer's bytes passed, and nobody knows what they said. */
  readonly isUnreadable: boolean;
}

/** Where nothing was seen of the answer: the provider has the prompt. */
const promptOnly = ({ estimate }: ParsedCall): Usage => ({
  inputTokens: estimate.inputTokens,
  cachedInputTokens: 0,
  cacheWriteInputTokens: 0,
  outputTokens: 0,
  reasoningTokens: 0,
});

/** Of a call that was sent, and ended before its answer began. */
function unansweredSource({ stream, runsOn }: ParsedCall): UsageSource {
  if (runsOn) return "unseen";
  // A stream shows what is written as it is written; another answer is sent when it has been.
  return stream ? "counted" : "interrupted";
}

/** What is charged for a call that is over (S2). */
export function settlementOf({ call, metered, isCut, isSent, isUnreadable }: CallEnd): Settlement {
  if (isUnreadable && call !== undefined) {
    return { kind: "settle", usage: promptOnly(call), source: "unseen" };
  }
  if (metered === undefined) {
    if (isCut && !isSent) return { kind: "release" };
    return isCut && call !== undefined
      ? { kind: "settle", usage: promptOnly(call), source: unansweredSource(call) }
      : { kind: "settle", usage: undefined };
  }
  if (metered.kind === "none") return { kind: "settle", usage: undefined };
  if (call?.runsOn && metered.kind === "counted") {
    return { kind: "settle", usage: metered.usage, source: "unseen" };
  }
  // Of a cut answer even the provider's own words are not about a whole one.
  return { kind: "settle", usage: metered.usage, source: isCut ? "counted" : metered.kind };
}
