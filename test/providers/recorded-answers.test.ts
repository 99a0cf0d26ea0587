import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { UsageMeter } from "../../src/ports/provider-format.ts";
import { hasFullRecordings } from "../support/recordings.ts";
import { countsOf, eventsOf, recordedCalls } from "./recorded-calls.ts";

/** A prime, so that pieces begin everywhere in events, lines and characters. */
const PIECE_BYTES = 97;

function passed(meter: UsageMeter, answer: Buffer, pieceBytes = PIECE_BYTES): Buffer {
  const out: Buffer[] = [];
  for (let from = 0; from < answer.length; from += pieceBytes) {
    out.push(Buffer.from(meter.push(answer.subarray(from, from + pieceBytes))));
  }
  out.push(meter.finish());
  return Buffer.concat(out);
}

const USAGE_CHUNK =
  'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],' +
  '"usage":{"prompt_tokens":11,"completion_tokens":7,"total_tokens":18,"prompt_tokens_details":{"cached_tokens":3}}}\n\n';

describe("recorded answers", () => {
  const calls = recordedCalls();

  test("meter leaves every byte as it was and settles to the recorded usage (S1)", () => {
    let reported = 0;
    for (const { id, provider, format, call, status, contentType, answer, usage } of calls) {
      const meter = format.meter({ ...call, usageSpliced: false }, status, contentType);
      assert.ok(passed(meter, answer).equals(answer), `bytes of ${id}`);
      const metered = meter.metered();
      if (status >= 400 || call.endpoint === "count_tokens") assert.equal(metered.kind, "none", id);
      if (usage === undefined || status >= 400) continue;
      assert.equal(metered.kind, "reported", id);
      assert.ok(metered.kind === "reported");
      const { inputTokens, cachedInputTokens, outputTokens } = metered.usage;
      const expected = countsOf(usage, provider);
      assert.deepEqual({ input: inputTokens, cached: cachedInputTokens, output: outputTokens }, expected, id);
      reported++;
    }
    assert.ok(reported >= (hasFullRecordings ? 3000 : 50), `only ${reported} recorded usages`);
  });

  test("meter takes exactly the extra usage chunk out of every recorded chat stream (S1)", () => {
    let streams = 0;
    for (const { id, format, call, isStream, status, contentType, answer } of calls) {
      const isChat = call.endpoint === "chat_completions" || call.endpoint === "completions";
      if (!isStream || !isChat || status >= 400) continue;
      const events = eventsOf(answer);
      const isExtra = (event: string) =>
        /"choices":\s*\[\]/.test(event) && /"usage":\s*\{/.test(event) && !event.startsWith(":");
      const without = Buffer.from(events.filter((event) => !isExtra(event)).join(""), "latin1");
      const done = without.lastIndexOf("data: [DONE]");
      const at = done === -1 ? without.length : done;
      const spliced = Buffer.concat([
        without.subarray(0, at),
        Buffer.from(USAGE_CHUNK),
        without.subarray(at),
      ]);
      for (const pieceBytes of spliced.length < 20_000 ? [1, PIECE_BYTES, spliced.length] : [PIECE_BYTES]) {
        const meter = format.meter({ ...call, usageSpliced: true }, status, contentType);
        assert.ok(passed(meter, spliced, pieceBytes).equals(without), `${id} in pieces of ${pieceBytes}`);
        const metered = meter.metered();
        assert.equal(metered.kind, "reported", id);
        assert.deepEqual(
          metered.kind === "reported" && metered.usage,
          {
            inputTokens: 11,
            cachedInputTokens: 3,
            cacheWriteInputTokens: 0,
            outputTokens: 7,
            reasoningTokens: 0,
          },
          id,
        );
      }
      streams++;
    }
    assert.ok(streams >= (hasFullRecordings ? 200 : 5), `only ${streams} chat streams`);
  });
});
