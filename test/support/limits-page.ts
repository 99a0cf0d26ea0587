import assert from "node:assert/strict";
import type { Agent } from "node:http";
import { rawCall } from "./http-client.ts";
import type { GatewayUnderTest } from "./running-gateway.ts";

export interface ShownLimit {
  readonly name: string;
  readonly meter: string;
  readonly limit: number;
  readonly used: number;
  readonly held: number;
  readonly remaining: number;
}

/** `GET /sluice/v1/limits` of the caller with this key. */
export async function limitsPage(url: string, key: string, agent?: Agent): Promise<readonly ShownLimit[]> {
  const answer = await rawCall(url, {
    method: "GET",
    path: "/sluice/v1/limits",
    headers: { authorization: `Bearer ${key}` },
    ...(agent === undefined ? {} : { agent }),
  });
  assert.equal(answer.status, 200, answer.body.toString());
  const { limits } = JSON.parse(answer.body.toString()) as { limits: readonly ShownLimit[] };
  // Without what depends on the time.
  return limits.map(({ name, meter, limit, used, held, remaining }) => ({
    name,
    meter,
    limit,
    used,
    held,
    remaining,
  }));
}

/** What is used, by meter; of several limits with one meter the first. Asserts that nothing is held. */
export async function settledUse(
  url: string,
  key: string,
  agent?: Agent,
): Promise<Readonly<Record<string, number>>> {
  const used: Record<string, number> = {};
  for (const limit of await limitsPage(url, key, agent)) {
    assert.equal(limit.held, 0, `${limit.name} still holds`);
    used[limit.meter] ??= limit.used;
  }
  return used;
}

const KEYS = ["key-of-alice", "key-of-bob", "key-of-carol"];

/** Runs something that must neither be charged nor reach the provider nor be unexpected, and must leave the gateway serving. */
export async function assertUncharged(under: GatewayUnderTest, attempt: () => Promise<void>): Promise<void> {
  const books = () => Promise.all(KEYS.map((key) => limitsPage(under.url, key)));
  const [before, calls] = [await books(), under.provider.stats.requests];
  await attempt();
  assert.deepEqual(await books(), before);
  assert.equal(under.provider.stats.requests, calls, "the provider was called");
  assert.equal((await rawCall(under.url, { method: "GET", path: "/healthz" })).status, 200);
  assert.deepEqual(errorLines(under), []);
}

/** What the gateway did not expect. */
export const errorLines = ({ lines }: GatewayUnderTest) =>
  lines.filter((line) => line.includes('"level":50'));
