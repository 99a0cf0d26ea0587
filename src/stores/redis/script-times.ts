import { CLOCK_STEP_TOLERANCE_MS } from "../../core/limits/subject-state.ts";
import { CLOSED_MEMORY_MS } from "../../ports/limit-store.ts";

/** A key outlives what counts in it by this, since after a small step back of the clock it counts for longer. */
export const SLACK_MS = 10_000;

/** What the scripts and the rest of the program go by alike, as Lua says it: in front of every script. */
export const SCRIPT_TIMES = Object.entries({ CLOCK_STEP_TOLERANCE_MS, SLACK_MS, CLOSED_MEMORY_MS })
  .map(([name, ms]) => `local ${name} = ${ms}`)
  .join("\n");
