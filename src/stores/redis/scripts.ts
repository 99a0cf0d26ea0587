import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { SCRIPT_TIMES } from "./script-times.ts";

/** A script as Redis runs it, and its name there. */
export interface RedisScript {
  readonly source: string;
  readonly sha: string;
}

const read = (file: string) => readFileSync(join(import.meta.dirname, file), "utf8");

/** Redis has no modules for scripts, so the parts that several share are put in front of each. */
function assemble(...parts: readonly string[]): RedisScript {
  const source = parts.join("\n");
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}

/** A script for any number of calls: `fast` has what most of them need; the rest is only made when a call needs it. */
function forCalls(fast: readonly string[], general: string): RedisScript {
  const rest = ["limits.lua", "reservations.lua", general].map(read);
  const begin = "local function makeGeneral()";
  return assemble(
    SCRIPT_TIMES,
    read("subject-state.lua"),
    ...fast.map(read),
    begin,
    ...rest,
    "end",
    read("calls.lua"),
  );
}

export const RESERVE = forCalls(["fast-walk.lua", "reserve-fast.lua"], "reserve.lua");
export const SETTLE = forCalls(["tombstones.lua", "fast-walk.lua", "settle-fast.lua"], "settle.lua");
export const ROOM = assemble(
  read("room-keys.lua"),
  SCRIPT_TIMES,
  read("subject-state.lua"),
  "local attemptFast",
  "do",
  read("fast-walk.lua"),
  read("reserve-fast.lua"),
  "attemptFast = fast",
  "end",
  read("room-ahead.lua"),
  "local function makeGeneral()",
  ...["limits.lua", "reservations.lua", "room-limits.lua", "expected-wait.lua", "reserve.lua"].map(read),
  "end",
  ...[
    "room-orders.lua",
    "room-codec.lua",
    "room-records.lua",
    "room-time.lua",
    "room-contests.lua",
    "room-places.lua",
    "room-ranking.lua",
    "room-turns.lua",
    "room-dispatch.lua",
  ].map(read),
  "local function makeSeldom()",
  read("room-seldom.lua"),
  "end",
  // A function has room for 200 locals, and what stands above has nearly as many.
  "return (function()",
  read("room.lua"),
  "end)()",
);
export const READ = assemble(SCRIPT_TIMES, read("subject-state.lua"), read("limits.lua"), read("read.lua"));
export const BEAT = assemble(SCRIPT_TIMES, read("beat.lua"));
export const CALIBRATION = assemble(read("calibration.lua"));
