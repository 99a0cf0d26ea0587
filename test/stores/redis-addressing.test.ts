import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStore } from "../../src/config/connections.ts";
import { OperationalError } from "../../src/core/operational-error.ts";
import { Realms } from "../../src/stores/redis/realms.ts";
import { parseRedisUrl } from "../../src/stores/redis/redis-url.ts";

test("Realms keeps all that belongs to one user in one realm and what is shared in the first", () => {
  const realms = new Realms("sluice:", 8);
  const users = Array.from({ length: 400 }, (_, i) => `user=u${i}`);
  for (const user of users) {
    const realm = realms.realmOf(user);
    assert.equal(realms.realmOf(`feature=summarize|${user}`), realm);
    assert.equal(realms.realmOf(`${user}|zone=a`), realm);
  }
  for (const key of ["global", "team=research", "account=openai/main", "feature=x", "not-user=u1"])
    assert.equal(realms.realmOf(key), 0, key);
  const counts = new Array<number>(8).fill(0);
  for (const user of users) counts[realms.realmOf(user)] += 1;
  for (const count of counts) assert.ok(count > 20, `spread ${counts.join(" ")}`);
});

test("Realms gives every key of a realm one hash tag, whatever the subject's name holds", () => {
  const realms = new Realms("sluice:", 3);
  const tag = (key: string) => /\{([^}]*)\}/.exec(key)?.[1];
  const keys = [
    realms.subject(2, "user={other}"),
    realms.subject(2, "}{"),
    realms.gateways(2),
    realms.probe(2),
  ];
  assert.deepEqual([...new Set(keys.map(tag))], ["sluice:2"]);
  assert.equal(tag(new Realms("sluice:", 1).subject(0, "user=a")), "sluice");
});

test("parseRedisUrl reads one server and clusters", () => {
  assert.deepEqual(parseRedisUrl("redis://u:p%40@host:6380/3?realms=4"), {
    kind: "single",
    url: "redis://u:p%40@host:6380/3",
    realms: 4,
  });
  assert.deepEqual(parseRedisUrl("redis-cluster://u:p%40@a:1,[::1]:2,c?tls=true"), {
    kind: "cluster",
    nodes: [
      { host: "a", port: 1 },
      { host: "::1", port: 2 },
      { host: "c", port: 6379 },
    ],
    username: "u",
    password: "p@",
    tls: true,
    realms: undefined,
  });
  const escaped = parseRedisUrl("redis-cluster://u:p%40x@a:1");
  assert.deepEqual(parseRedisUrl("redis-cluster://u:p@x@a:1"), escaped);
});

test("parseRedisUrl refuses what is no Redis URL without repeating its password (X1)", () => {
  for (const url of [
    "http://u:secret@a",
    "redis://",
    "redis-cluster://u:secret@a:99999",
    "redis-cluster://u:secret@a/1",
    "redis-cluster://u:secret@a?realms=0",
    "redis-cluster://u:secret@a?realms=x",
    "redis-cluster://u:secret%zz@a",
    "redis://u:secret%zz@a",
  ]) {
    assert.throws(
      () => parseRedisUrl(url),
      (error) =>
        error instanceof OperationalError &&
        error.code === "invalid_configuration" &&
        !error.message.includes("secret"),
      url,
    );
  }
});

test("parseRedisUrl reads every address that the configuration lets through, and no URL of it is a stack trace", () => {
  const logins = ["", "u:p@", ":p@", "u:p%40x@", "u:p@x@", "u:p?x@", "u:p#x@", "u:%zz@", "u@"];
  const hosts = ["h", "h:1", "h:0", "h:99999", "[::1]:2", "a:1,b", "a,"];
  const ends = ["", "/", "/2", "?realms=3", "?realms=0", "/2?realms=3"];
  for (const scheme of ["redis", "rediss", "redis-cluster"]) {
    for (const login of logins) {
      for (const host of hosts) {
        for (const end of ends) {
          const url = `${scheme}://${login}${host}${end}`;
          if (parseStore(url, "/") !== undefined) assert.doesNotThrow(() => parseRedisUrl(url), url);
        }
      }
    }
  }
});
