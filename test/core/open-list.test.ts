import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Listed, OpenList } from "../../src/core/open-list.ts";
import { runs } from "../support/property.ts";

const listed = (): Listed => ({ place: -1 });

function members(open: OpenList<Listed>): Set<Listed> {
  const found = open.all();
  assert.equal(found.length, open.size, "each is there once");
  return new Set(found);
}

test("OpenList: what is added and not removed is in, whatever the order", () => {
  const toggled = fc.property(fc.array(fc.nat({ max: 19 }), { maxLength: 200 }), (toggles) => {
    const all = Array.from({ length: 20 }, listed);
    const open = new OpenList<Listed>();
    const expected = new Set<Listed>();
    for (const index of toggles) {
      const one = all[index];
      if (expected.delete(one)) open.remove(one);
      else {
        expected.add(one);
        open.add(one);
      }
      assert.deepEqual(members(open), expected);
    }
  });
  fc.assert(toggled, runs(100));
});

test("OpenList: removing what is not in does nothing", () => {
  const open = new OpenList<Listed>();
  const [one, other] = [listed(), listed()];
  open.add(one);
  open.remove(other);
  open.remove(one);
  open.remove(one);
  assert.equal(open.size, 0);
});

test("OpenList: all can be removed while one goes through them", () => {
  const open = new OpenList<Listed>();
  for (let i = 0; i < 5; i++) open.add(listed());
  for (const one of open.all()) open.remove(one);
  assert.equal(open.size, 0);
});
