import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { OperationalError } from "../../src/core/operational-error.ts";
import { NodeRequest } from "../../src/gateway/http-server/node-call.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { rawCall } from "../support/http-client.ts";
import { settledUse } from "../support/limits-page.ts";
import { startGatewayUnderTest } from "../support/running-gateway.ts";
import { until } from "../support/until.ts";

const YAML = `
plans:
  p:
    when_limited: reject
    limits:
      - { meter: requests, limit: 10, per: 1h }
      - { meter: concurrency, limit: 1 }
identity: { keys: [{ key: key-of-alice, user: alice, plan: p }] }
`;
const BODY = JSON.stringify({ model: "gpt-4o-mini", messages: [{ role: "user", content: "hi" }] });
const REQUEST = [
  "POST /v1/chat/completions HTTP/1.1",
  "host: sluice",
  "authorization: Bearer key-of-alice",
  "content-type: application/json",
  `content-length: ${BODY.length}`,
  "",
  BODY,
].join("\r\n");

test("forwardCall gives back what was granted to a client that went while it was decided, and calls nobody (Q5, L7)", async (t) => {
  const under = await startGatewayUnderTest({ yaml: YAML });
  t.after(() => under.close());
  const { reserve } = MemoryLimitStore.prototype;
  const asked = Promise.withResolvers<void>();
  const answer = Promise.withResolvers<void>();
  t.mock.method(
    MemoryLimitStore.prototype,
    "reserve",
    async function (this: MemoryLimitStore, request: never) {
      const outcome = await reserve.call(this, request);
      asked.resolve();
      await answer.promise;
      return outcome;
    },
  );
  const { hostname, port } = new URL(under.url);
  const client = connect({ host: hostname, port: Number(port) });
  client.on("error", () => {});
  client.write(REQUEST);
  await asked.promise;
  client.resetAndDestroy();
  // What is sent later arrives later.
  for (let i = 0; i < 3; i++) await rawCall(under.url, { method: "GET", path: "/healthz" });
  answer.resolve();
  await until(async () =>
    settledUse(under.url, "key-of-alice").then(
      ({ requests }) => requests === 0,
      () => false,
    ),
  );
  assert.equal(under.provider.stats.requests, 0);
});

test("forwardCall gives back what a call holds that cannot be sent after all (L7)", async (t) => {
  const under = await startGatewayUnderTest({ yaml: YAML });
  t.after(() => under.close());
  t.mock.method(NodeRequest.prototype, "passBody", () => {
    throw new OperationalError("invalid_request", "the body is not to be had");
  });
  const headers = { authorization: "Bearer key-of-alice", "content-type": "application/octet-stream" };
  const answer = await rawCall(under.url, { path: "/v1/files", headers, body: "bytes" });
  assert.equal(answer.status, 400);
  const { requests, concurrency } = await settledUse(under.url, "key-of-alice");
  assert.deepEqual([requests, concurrency, under.provider.stats.requests], [0, 0, 0]);
});
