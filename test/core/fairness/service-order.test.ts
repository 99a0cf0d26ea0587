import assert from "node:assert/strict";
import { test } from "node:test";
import { serviceOf } from "../../../src/core/fairness/service.ts";
import { ServiceOrder } from "../../../src/core/fairness/service-order.ts";

/** A flow that waits with one call, and was charged so much before. */
function waiting(order: ServiceOrder, key: string, charged = 0, weight = 1) {
  const flow = order.candidate(key, weight);
  order.join(flow);
  order.charge(flow, charged);
  return flow;
}

test("ServiceOrder lifts a flow that comes back to the least counter of those who wait, and takes nothing from one that is ahead (Q1)", () => {
  const order = new ServiceOrder(2);
  waiting(order, "a", 100);
  const b = waiting(order, "b", 0);
  assert.equal(b.counter, 100, "lifted as it came");
  const c = waiting(order, "c", 500);
  order.leave(c);
  assert.equal(order.candidate("c", 1).counter, 600, "what it had stays");
  assert.equal(order.candidate("never seen", 1).counter, 100);
});

test("ServiceOrder keeps the level when nobody waits any more (Q1)", () => {
  const order = new ServiceOrder(2);
  const a = waiting(order, "a", 100);
  order.leave(a);
  assert.equal(order.waiting, 0);
  assert.equal(order.candidate("b", 1).counter, 100);
});

test("ServiceOrder charges by weight, and takes back what was charged too much (Q1)", () => {
  const order = new ServiceOrder(2);
  const heavy = waiting(order, "heavy", 100, 4);
  assert.equal(heavy.counter, 25);
  order.charge(heavy, -40);
  assert.equal(heavy.counter, 15);
});

test("ServiceOrder keeps nothing of a flow that only asked, and forgets idle ones that would be lifted anyway (Q6)", () => {
  const order = new ServiceOrder(2);
  for (let i = 0; i < 10_000; i++) order.candidate(`asked-${i}`, 1);
  assert.equal(order.size, 0);
  const always = waiting(order, "always", 1);
  for (let i = 0; i < 10_000; i++) {
    const flow = waiting(order, `once-${i}`, 0);
    order.leave(flow);
    order.charge(always, 1);
  }
  assert.ok(order.size < 2_100, `${order.size}`);
});

test("serviceOf weighs output twice, cached input half, and is never nothing (Q1)", () => {
  assert.equal(serviceOf({ inputTokens: 100, cachedInputTokens: 0, outputTokens: 50 }), 200);
  assert.equal(serviceOf({ inputTokens: 100, cachedInputTokens: 41, outputTokens: 0 }), 80);
  assert.equal(serviceOf({ inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 }), 1);
  assert.equal(serviceOf({ inputTokens: 10, cachedInputTokens: 40, outputTokens: 0 }), 20);
});
