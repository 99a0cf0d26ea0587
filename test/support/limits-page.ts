import assert from "node:assert/strict";
import type { Agent } from "node:http";
import { rawCall } from "./http-client.ts";

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
  return (JSON.parse(answer.body.toString()) as { limits: readonly ShownLimit[] }).limits;
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
