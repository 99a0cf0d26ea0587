import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { addressMatcher, parseCidr } from "../../src/config/address-matcher.ts";
import { closestName } from "../../src/config/closest-name.ts";
import { parseBaseUrl, parseJobs, parseListen, parseStore } from "../../src/config/connections.ts";
import { parseDuration } from "../../src/config/duration.ts";
import { exactDuration } from "../../src/core/duration.ts";
import { runs } from "../support/property.ts";

test("parseDuration reads a whole number with a unit, and nothing else", () => {
  assert.deepEqual(
    ["500ms", "20s", "1m", "1h", "7d", "0s"].map(parseDuration),
    [500, 20_000, 60_000, 3_600_000, 604_800_000, 0],
  );
  for (const text of ["", "1", "m", "1 m", "1.5h", "-1s", "01s", "1M", "1m30s", "1w", "9999999999999s"]) {
    assert.equal(parseDuration(text), undefined, text);
  }
});

test("exactDuration writes what parseDuration reads", () => {
  const property = fc.property(fc.integer({ min: 0, max: 1e11 }), (ms) => {
    assert.equal(parseDuration(exactDuration(ms)), ms);
  });
  fc.assert(property, runs(500));
  assert.deepEqual([60_000, 90_000, 86_400_000, 1_500, 0].map(exactDuration), [
    "1m",
    "90s",
    "1d",
    "1500ms",
    "0ms",
  ]);
});

test("parseListen reads addresses of both families", () => {
  assert.deepEqual(parseListen("127.0.0.1:80"), { host: "127.0.0.1", port: 80 });
  assert.deepEqual(parseListen("[::1]:80"), { host: "::1", port: 80 });
  assert.deepEqual(parseListen(":80"), { host: "0.0.0.0", port: 80 });
  assert.deepEqual(parseListen(8080), { host: "127.0.0.1", port: 8080 });
  for (const text of ["", "host", "host:", "host:99999", "a b:1", "::1:80", "http://x:1", 1.5, -1, 70_000]) {
    assert.equal(parseListen(text), undefined, String(text));
  }
});

test("parseStore reads every kind of store, and shows no password (X1)", () => {
  assert.deepEqual(parseStore("memory:", "/x"), { kind: "memory" });
  assert.deepEqual(parseStore("embedded:./a", "/x"), {
    kind: "embedded",
    directory: "/x/a",
    durability: "process",
  });
  assert.deepEqual(parseStore("embedded:/a?sync=full", "/x"), {
    kind: "embedded",
    directory: "/a",
    durability: "machine",
  });
  const redis = parseStore("rediss://u:hush@h:1/2", "/x");
  assert.ok(redis?.kind === "redis");
  assert.equal(redis.realms, 1);
  assert.equal(redis.shown, "rediss://h:1/2");
  assert.equal(redis.url.reveal(), "rediss://u:hush@h:1/2");
  const cluster = parseStore("redis-cluster://u:hu%40sh@a:1,b,[::1]:2?realms=8&tls=true", "/x");
  assert.ok(cluster?.kind === "redis");
  assert.equal(cluster.realms, 8);
  assert.equal(cluster.shown, "redis-cluster://a:1,b,[::1]:2?realms=8&tls=true");
  assert.equal(cluster.url.reveal(), "redis-cluster://u:hu%40sh@a:1,b,[::1]:2?realms=8&tls=true");
  assert.doesNotMatch(JSON.stringify([redis, cluster]), /hush|hu@sh|hu%40sh/);
  for (const text of [
    "",
    "embedded:",
    "redis:",
    "redis://",
    "redis://h/x",
    "redis://h?realms=0",
    "mysql://h",
    "embedded:a?b",
    "redis-cluster://",
    "redis-cluster://a:99999",
    "redis-cluster://a:0",
    "redis-cluster://u:%zz@a",
    "redis://u:%zz@h",
    "redis-cluster://a,",
    "redis-cluster://a?realms=0",
    "redis-cluster://a?realms=257",
    "redis-cluster://a?realms=8x",
    "redis-cluster://a?tls=yes",
    "redis-cluster://a?relams=8",
    "redis-cluster://a?realms=8?tls=true",
  ]) {
    assert.equal(parseStore(text, "/x"), undefined, text);
  }
});

test("parseJobs and parseBaseUrl read what they may be", () => {
  assert.deepEqual(parseJobs("embedded"), { kind: "embedded" });
  const celery = parseJobs("celery+amqp://u:hush@h/v");
  assert.ok(celery?.kind === "celery");
  assert.equal(celery.shown, "celery+amqp://h/v");
  assert.equal(celery.url.reveal(), "amqp://u:hush@h/v");
  for (const text of ["", "kafka://h", "amqp:", "celery+redis://h"])
    assert.equal(parseJobs(text), undefined, text);
  assert.equal(parseBaseUrl("https://api.openai.com/v1/"), "https://api.openai.com");
  assert.equal(parseBaseUrl("http://h:1/openai"), "http://h:1/openai");
  for (const text of ["", "h", "ftp://h", "https://u@h", "https://h?x", "https://h#x"]) {
    assert.equal(parseBaseUrl(text), undefined, text);
  }
});

test("addressMatcher believes only addresses in its ranges (X2)", () => {
  const isTrusted = addressMatcher(["10.0.0.0/8", "192.168.1.7", "fd00::/8"]);
  for (const address of ["10.1.2.3", "::ffff:10.1.2.3", "::FFFF:10.1.2.3", "192.168.1.7", "fd12::1"]) {
    assert.ok(isTrusted(address), address);
  }
  for (const address of [
    "11.0.0.1",
    "192.168.1.8",
    "fe80::1",
    "::ffff:11.0.0.1",
    "",
    "10.1",
    "x",
    undefined,
  ]) {
    assert.ok(!isTrusted(address), String(address));
  }
  assert.ok(!addressMatcher([])("127.0.0.1"));
  for (const text of ["10.0.0.0/33", "::/129", "10.0.0/8", "x", "10.0.0.0/", "10.0.0.0/8/8", "10.0.0.0/-1"]) {
    assert.equal(parseCidr(text), undefined, text);
  }
});

test("closestName finds what was meant, and nothing far away", () => {
  const keys = ["limits", "when_limited", "base_url", "listen"];
  assert.equal(closestName("limts", keys), "limits");
  assert.equal(closestName("baseUrl", keys), "base_url");
  assert.equal(closestName("when-limited", keys), "when_limited");
  assert.equal(closestName("tokens", keys), undefined);
  assert.equal(closestName("x".repeat(10_000), keys), undefined);
});
