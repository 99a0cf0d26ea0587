import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startReplayProvider } from "../../src/replay-provider/replay-provider.ts";
import { settledUse } from "../support/limits-page.ts";
import { PLANS_AND_KEYS, startGatewayUnderTest } from "../support/running-gateway.ts";

test("a gateway that is shut down in the middle of a stream charges what was emitted, in the next one's books, too (S2, X6)", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-shutdown-"));
  const provider = await startReplayProvider();
  t.after(async () => {
    await provider.close();
    rmSync(directory, { recursive: true, force: true });
  });
  const options = {
    yaml: PLANS_AND_KEYS,
    store: `embedded:${directory}`,
    provider,
    bounds: { drainTimeoutMs: 50 },
  };
  const stopped = await startGatewayUnderTest(options);
  t.after(() => stopped.close());
  provider.switches.set({ chunkIntervalMs: 1, outputTokens: 5_000 });
  const sent = httpRequest(`${stopped.url}/v1/chat/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: "Bearer key-of-carol" },
  });
  sent.on("error", () => {});
  sent.end(
    JSON.stringify({
      model: "gpt-4o-mini",
      messages: [{ role: "user", content: "hello" }],
      max_tokens: 5_000,
      stream: true,
    }),
  );
  const [answer] = (await once(sent, "response")) as [NodeJS.ReadableStream];
  let text = "";
  const words = () => text.match(/"content":"[^"]+"/g)?.length ?? 0;
  let closing: Promise<void> | undefined;
  await assert.rejects(async () => {
    for await (const chunk of answer) {
      text += String(chunk);
      if (words() >= 100) closing ??= stopped.close();
    }
  }, "the stream was not cut");
  await closing;
  assert.equal(provider.requests.at(-1)?.end, "closed");

  const next = await startGatewayUnderTest(options);
  t.after(() => next.close());
  const used = await settledUse(next.url, "key-of-carol");
  // A word is a token here, and the last ones may not have reached the client.
  assert.ok(
    used.output_tokens >= words() && used.output_tokens <= words() * 1.05 + 20,
    `${used.output_tokens} settled, ${words()} received`,
  );
  assert.ok(used.tokens > used.output_tokens, "the prompt was sent, too");
  assert.equal(used.requests, 1);
});
