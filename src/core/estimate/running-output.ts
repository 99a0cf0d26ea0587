import type { OutputGroup, OutputGroupNode } from "./output-group-tree.ts";
import { NOTHING_REACHED } from "./survival-histogram.ts";

/** What is known of a call before it is sent, in model tokens. */
export interface OutputCall {
  /** The estimate that is held. */
  readonly inputTokens: number;
  /** Over all its answers, as in `Estimate`; absent where the call names none. */
  readonly outputTokensMax: number | undefined;
  /** How many answers it asks for (`n`): at least 1. */
  readonly answers: number;
}

/** One call from its admission to its end, as `OutputCalibration` follows it. A call that fails is simply let go. */
export class RunningOutput {
  readonly group: OutputGroup;
  readonly call: OutputCall;
  /** What `expect` gave for it; undefined where nothing was known. */
  readonly expected: number | undefined;
  /** Of `OutputCalibration`, as all that follows. Known once the call has been counted anywhere. */
  node: OutputGroupNode | undefined;
  /** The last bucket of length that was counted. */
  reachedBucket = NOTHING_REACHED;
  /** Whether that is what such calls have written by now, and not what was seen. */
  isPresumed = false;
  /** How much of a miss it counts as; undefined as long as it has not been entered. */
  risk: number | undefined;
  /** Whether the correction of levels has been told that it is a miss. */
  isMissCorrected = false;
  /** From how much output on that is asked about again, as long as it has not been. */
  judgedAgainTokens = 0;
  /** From how much output on there is something to tell. */
  nextTokens = 1;

  constructor(group: OutputGroup, call: OutputCall, expected: number | undefined) {
    this.group = group;
    this.call = call;
    this.expected = expected;
  }

  /** Whether the output has grown by enough that `OutputCalibration.emitted` wants to know. */
  isNews(emittedTokens: number): boolean {
    return emittedTokens >= this.nextTokens;
  }
}
