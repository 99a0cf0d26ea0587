import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "ioredis";
import { startRedisCluster } from "./redis-cluster.ts";
import { startRedisServer } from "./redis-server.ts";

test("startRedisServer gives a server that forgets by default", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  assert.equal(await server.command("PING"), "PONG");
  await server.command("SET", "key", "1");
  await server.restart();
  assert.equal(await server.command("GET", "key"), null);
});

test("startRedisServer with persistent keeps what was acknowledged through a kill -9 on the same port", async (t) => {
  const server = await startRedisServer({ persistent: true });
  t.after(() => server.stop());
  await server.command("SET", "key", "1");
  const { port, pid } = server;
  await server.kill();
  await assert.rejects(server.command("PING"));
  await server.start();
  assert.equal(server.port, port);
  assert.notEqual(server.pid, pid);
  assert.equal(await server.command("GET", "key"), "1");
});

test("RedisServer pause keeps connections open without an answer until resume", async (t) => {
  const server = await startRedisServer();
  t.after(() => server.stop());
  server.pause();
  const answer = server.command("PING");
  const first = await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 100, "nothing"))]);
  assert.equal(first, "nothing");
  server.resume();
  assert.equal(await answer, "PONG");
  await server.debugSleep(0.01);
  server.pause();
  await server.stop();
});

test("startRedisCluster gives a cluster that serves every slot", async (t) => {
  const cluster = await startRedisCluster({ masters: 3 });
  t.after(() => cluster.stop());
  const client = new Cluster(cluster.nodes.map(({ host, port }) => ({ host, port })));
  t.after(() => client.disconnect());
  for (let n = 0; n < 100; n++) await client.set(`key-${n}`, String(n));
  for (let n = 0; n < 100; n++) assert.equal(await client.get(`key-${n}`), String(n));
});
