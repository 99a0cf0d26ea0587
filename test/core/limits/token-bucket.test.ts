import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyState, findEntry } from "../../../src/core/limits/subject-state.ts";
import {
  chargeTokenBucket,
  readTokenBucket,
  tokenBucketWait,
} from "../../../src/core/limits/token-bucket.ts";
import { bucket } from "../../contract/limit-specs.ts";

test("tokenBucketWait comes to an end for a debt that takes longer to refill than a double counts in milliseconds (L8)", () => {
  const spec = bucket(1_000, 7, 86_400_000);
  const state = emptyState();
  // 7 a day: 285,000 years. Adding a millisecond to them changes nothing.
  chargeTokenBucket(state, spec, spec.capacity + 729_749_940, 0, 0);
  const waitMs = tokenBucketWait(state, findEntry(state, spec.id), spec, 1, 0);
  assert.ok(waitMs >= Number.MAX_SAFE_INTEGER, `${waitMs}`);
  assert.ok(readTokenBucket(state, findEntry(state, spec.id), spec, 0).fullInMs >= waitMs);
});
