import assert from "node:assert/strict";
import { test } from "node:test";
import { MinimumShares } from "../../../src/core/fairness/minimum-shares.ts";

const SHARES = [0, 0.5, 0.25, 0.1];
const ALL = () => true;

test("MinimumShares owes a band its part of what others were served, once that pays for its call (Q2)", () => {
  const shares = new MinimumShares(4);
  shares.joined(2, 10);
  shares.served(0, 39, SHARES, ALL);
  assert.equal(shares.isOwed(2, 10), false);
  shares.served(1, 1, SHARES, ALL);
  assert.equal(shares.isOwed(2, 10), true, "a quarter of 40 is all of 10");
  assert.equal(shares.isOwed(2, 11), false);
  shares.served(2, 10, SHARES, ALL);
  // It earns of its own service too: a quarter of all.
  assert.equal(shares.isOwed(2, 2.5), true);
  assert.equal(shares.isOwed(2, 2.6), false);
});

test("MinimumShares owes nothing to the first band, whatever its share, nor to bands that do not wait (Q2)", () => {
  const shares = new MinimumShares(4);
  for (const band of [0, 1, 2, 3]) shares.joined(band, 100);
  shares.served(1, 1_000, [1, 1, 1, 1], (band) => band !== 3);
  assert.equal(shares.isOwed(0, 0), false);
  assert.equal(shares.isOwed(2, 100), true);
  assert.equal(shares.isOwed(3, 1), false);
});

test("MinimumShares saves up no more than two of a band's largest calls, and nothing once nobody waits (Q2)", () => {
  const shares = new MinimumShares(4);
  shares.joined(2, 10);
  shares.joined(2, 4);
  shares.served(0, 1_000_000, SHARES, ALL);
  assert.equal(shares.isOwed(2, 20), true);
  assert.equal(shares.isOwed(2, 20.5), false);
  shares.emptied(2);
  assert.equal(shares.isOwed(2, 1), false);
  shares.joined(2, 4);
  shares.served(0, 1_000_000, SHARES, ALL);
  assert.equal(shares.isOwed(2, 8), true);
  assert.equal(shares.isOwed(2, 8.5), false, "how large calls were before is forgotten, too");
});

test("MinimumShares asks nothing back of a band that was served more than it was owed (Q2)", () => {
  const shares = new MinimumShares(4);
  shares.joined(1, 10);
  shares.served(1, 1_000, [0, 0, 0, 0], ALL);
  shares.served(0, 20, SHARES, ALL);
  assert.equal(shares.isOwed(1, 10), true);
});
