import assert from "node:assert/strict";
import { test } from "node:test";
import { hasFullRecordings } from "../support/recordings.ts";
import { countsOf, eventsOf, type RecordedCall, recordedCalls } from "./recorded-calls.ts";

/** Output that is in the usage but not in the stream: hidden or summarised reasoning, tools that the provider runs itself. */
const HIDES_OUTPUT =
  /reasoning_tokens":\s*[1-9]|"type":\s*"(?:reasoning|thinking|redacted_thinking|server_tool_use|compaction)"|(?:search|interpreter|shell|generation|mcp)_call"|mcp_/;

/** The stream as it is when its connection breaks just before the provider says what was used. */
function untilUsage(answer: Buffer): { shown: Buffer; events: number } {
  const events = eventsOf(answer);
  const isLast = (event: string) =>
    /"type":\s*"(?:message_delta|response\.(?:completed|incomplete|failed))"/.test(event) ||
    (/"usage":\s*\{/.test(event) && !event.includes('"message_start"'));
  const end = events.findIndex(isLast);
  const kept = events.slice(0, end === -1 ? events.length : end);
  return { shown: Buffer.from(kept.join(""), "latin1"), events: kept.length };
}

function countedOutput({ format, call, status, contentType }: RecordedCall, shown: Buffer): number {
  const meter = format.meter(call, status, contentType);
  meter.push(shown);
  const metered = meter.metered();
  assert.equal(metered.kind, "counted");
  return metered.kind === "counted" ? metered.usage.outputTokens : 0;
}

test("meter settles cut streams within 5 % of what they emitted (S2)", () => {
  const sums = new Map<string, { counted: number; actual: number; streams: number }>();
  for (const recorded of recordedCalls()) {
    const { isStream, status, usage, provider, call, answer } = recorded;
    const isHost = provider !== "openai" && provider !== "anthropic";
    if (!isStream || status >= 400 || usage === undefined || isHost) continue;
    if (HIDES_OUTPUT.test(answer.toString("latin1"))) continue;
    const { shown, events } = untilUsage(answer);
    if (events < 2) continue;
    for (const key of [call.endpoint, "all"]) {
      const sum = sums.get(key) ?? { counted: 0, actual: 0, streams: 0 };
      sum.counted += countedOutput(recorded, shown);
      sum.actual += countsOf(usage, provider).output;
      sum.streams++;
      sums.set(key, sum);
    }
  }
  const all = sums.get("all");
  assert.ok(
    all !== undefined && all.streams >= (hasFullRecordings ? 120 : 8),
    `only ${all?.streams} streams`,
  );
  // One stream of the small selection is a larger part of the sum.
  const tolerance = hasFullRecordings ? 0.05 : 0.1;
  const ratio = all.counted / all.actual;
  const found = JSON.stringify(Object.fromEntries(sums));
  assert.ok(Math.abs(ratio - 1) <= tolerance, `counted ÷ actual = ${ratio}: ${found}`);
});

test("meter counts a stream that is cut anywhere, more the later it is cut (S2)", () => {
  for (const recorded of recordedCalls()
    .filter(({ isStream, status }) => isStream && status < 400)
    .slice(0, 40)) {
    const { format, call, status, contentType, answer } = recorded;
    const meter = format.meter({ ...call, usageSpliced: false }, status, contentType);
    let last = 0;
    for (const event of eventsOf(untilUsage(answer).shown)) {
      meter.push(Buffer.from(event, "latin1"));
      const metered = meter.metered();
      if (metered.kind !== "counted") continue;
      assert.ok(metered.usage.outputTokens >= last, recorded.id);
      last = metered.usage.outputTokens;
    }
  }
});
