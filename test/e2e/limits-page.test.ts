import assert from "node:assert/strict";
import { test } from "node:test";
import { rawCall } from "../support/http-client.ts";
import { startRedisServer } from "../support/redis-server.ts";
import { startGatewayUnderTest } from "../support/running-gateway.ts";

const WINDOWS = ["500ms", "1500ms", "20s", "90s", "1m", "100000s", "7d", "day", "month"];
const yaml = `
plans:
  all:
    when_limited: reject
    limits:
${WINDOWS.map((per) => `      - { meter: requests, limit: 1000, per: ${per}, on_store_failure: closed }`).join("\n")}
identity: { keys: [{ key: key-of-alice, user: alice, plan: all }] }
`;
const page = (url: string) =>
  rawCall(url, {
    method: "GET",
    path: "/sluice/v1/limits",
    headers: { authorization: "Bearer key-of-alice" },
  });

test("limitsAnswer shows windows as the file has them", async (t) => {
  const under = await startGatewayUnderTest({ yaml });
  t.after(() => under.close());
  const { limits } = JSON.parse((await page(under.url)).body.toString()) as { limits: { per: string }[] };
  assert.deepEqual(
    limits.map(({ per }) => per),
    WINDOWS,
  );
});

test("limitsAnswer says of a store that is away no more than clients may know (L12, X1)", async (t) => {
  const server = await startRedisServer();
  const under = await startGatewayUnderTest({ yaml, store: server.url });
  t.after(() => under.close());
  assert.equal((await page(under.url)).status, 200);
  await server.stop();
  const { status, body } = await page(under.url);
  assert.equal(status, 503);
  const { error } = JSON.parse(body.toString()) as { error: { code: string; message: string } };
  assert.equal(error.code, "store_unavailable");
  assert.doesNotMatch(error.message, /redis|127\.0\.0\.1|connection/i);
});
