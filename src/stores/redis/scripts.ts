import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";

/** A script as Redis runs it, and its name there. */
export interface RedisScript {
  readonly source: string;
  readonly sha: string;
}

/** Redis has no modules for scripts, so the parts that several share are put in front of each. */
function assemble(...files: readonly string[]): RedisScript {
  const source = files.map((file) => readFileSync(join(import.meta.dirname, file), "utf8")).join("\n");
  return { source, sha: createHash("sha1").update(source).digest("hex") };
}

export const RESERVE = assemble(
  "subject-state.lua",
  "reserve-fast.lua",
  "limits.lua",
  "reservations.lua",
  "reserve.lua",
);
export const SETTLE = assemble(
  "subject-state.lua",
  "tombstones.lua",
  "settle-fast.lua",
  "limits.lua",
  "reservations.lua",
  "settle.lua",
);
export const READ = assemble("subject-state.lua", "limits.lua", "read.lua");
export const BEAT = assemble("beat.lua");
