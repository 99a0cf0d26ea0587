import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { harmless } from "../../src/cli/say.ts";
import { SluiceProcess } from "../support/sluice-process.ts";

/** Clears the screen, writes from right to left, and clears it again in the other way of saying so. */
const HOSTILE = "m\u001b[2J\u202e\u009b2J";
const SHOWN = "m\\u001b[2J\\u202e\\u009b2J";

test("harmless leaves text as it is, and shows what would command a terminal (X3)", () => {
  assert.equal(harmless("a\tb\nÜ 漢 🦜\n"), "a\tb\nÜ 漢 🦜\n");
  assert.equal(harmless(`${HOSTILE}\r\u0007\u007f`), `${SHOWN}\\u000d\\u0007\\u007f`);
});

test("sluice does not hand a terminal what stands in files: a body's model, a configuration's names (X3)", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-say-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const write = (name: string, text: string) => writeFileSync(join(directory, name), text);
  write(
    "body.json",
    JSON.stringify({ model: HOSTILE, max_tokens: 5, messages: [{ role: "user", content: "hi" }] }),
  );
  const configuration = (limit: string) => `
providers: { openai: { accounts: [{ name: main, key: abcdefgh }] } }
plans: { a: { limits: [{ meter: ${limit}, limit: 1, per: day }] } }
prices: [{ model: ${JSON.stringify(HOSTILE)}, input: 1, output: 1 }]
`;
  write("names.yaml", configuration("cost"));
  write("wrong.yaml", configuration(JSON.stringify(HOSTILE)));
  for (const [args, code] of [
    [["estimate", "body.json"], 0],
    [["prices", "show", HOSTILE], 1],
    [["check", "names.yaml"], 0],
    [["check", "wrong.yaml"], 2],
    [["serve", "--config", "wrong.yaml"], 2],
  ] as const) {
    const process = new SluiceProcess(args, {}, directory);
    assert.equal(await process.exitCode(), code, args.join(" "));
    const written = process.stdout + process.stderr;
    assert.ok(written.includes(SHOWN), `${args.join(" ")}: ${JSON.stringify(written)}`);
    assert.doesNotMatch(written, /(?!\n)[\p{Cc}\p{Bidi_Control}]/u, args.join(" "));
  }
});
