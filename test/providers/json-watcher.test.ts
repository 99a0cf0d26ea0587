import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { JsonWatcher } from "../../src/providers/http/json-watcher.ts";
import { runs } from "../support/property.ts";

/** Objects with `usage` in all the wrong places, too: in texts, in arrays, deeper, behind escapes. */
const trap = fc.oneof(
  fc.constantFrom("usage", '"usage":{"a":1}', '\\"usage\\":', "response", "}]\\", "{[", "é😀", "\\\\"),
  fc.string({ maxLength: 90, unit: "binary" }),
);
/** V8 13.6 takes the key `"` for a `\` that it has seen in its place before, when it stands at a key's end. */
const trapKey = trap.filter((text) => !/["\\]$/.test(text));
const value = fc.letrec<{ any: unknown; object: unknown }>((tie) => ({
  any: fc.oneof(
    { maxDepth: 4 },
    trap,
    fc.double({ noNaN: true }),
    fc.constantFrom(null, true, false),
    tie("object"),
    fc.array(tie("any"), { maxLength: 3 }),
  ),
  object: fc.dictionary(fc.oneof(fc.constantFrom("usage", "response", "error"), trapKey), tie("any"), {
    maxKeys: 4,
  }),
})).object as fc.Arbitrary<Record<string, unknown>>;

const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });

function watched(text: string, pieceSizes: readonly number[]): JsonWatcher {
  const watcher = new JsonWatcher({ paths: ["usage", "response.usage"], capture: true });
  const bytes = Buffer.from(text);
  let from = 0;
  for (let turn = 0; from < bytes.length; turn++) {
    const to = from + pieceSizes[turn % pieceSizes.length]!;
    watcher.push(bytes.subarray(from, to));
    from = to;
  }
  return watcher;
}

const parsed = (text: string | undefined) => (text === undefined ? undefined : JSON.parse(text));

describe("JsonWatcher", () => {
  test("finds what JSON.parse finds, in pieces of any size (S2)", () => {
    fc.assert(
      fc.property(value, sizes, fc.constantFrom(undefined, 2), (object, pieceSizes, indent) => {
        const text = JSON.stringify(object, null, indent);
        const same = JSON.parse(text);
        const watcher = watched(text, pieceSizes);
        assert.deepEqual(parsed(watcher.text("usage")), same.usage);
        const response = same.response;
        const isObject = typeof response === "object" && response !== null && !Array.isArray(response);
        assert.deepEqual(parsed(watcher.text("response.usage")), isObject ? response.usage : undefined);
      }),
      runs(2000),
    );
  });

  test("takes the last of two, keys written with escapes, and bytes before the object (S2)", () => {
    const text = 'event: x\ndata: {"usage":1, "\\u0075sage" : {"a":[2,"}"]} ,"x":"\\\\"}';
    for (const size of [1, 2, 3, 7, text.length]) {
      assert.deepEqual(parsed(watched(text, [size]).text("usage")), { a: [2, "}"] }, `${size}`);
    }
  });

  test("never throws, whatever the bytes are (X3)", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            fc.uint8Array(),
            fc.json().map((text) => Buffer.from(text)),
          ),
        ),
        (pieces) => {
          const watcher = new JsonWatcher({ paths: ["usage"], capture: true });
          for (const piece of pieces) watcher.push(Buffer.from(piece));
          watcher.text("usage");
        },
      ),
      runs(1000),
    );
  });
});
