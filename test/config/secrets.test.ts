import assert from "node:assert/strict";
import { test } from "node:test";
import { inspect } from "node:util";
import fc from "fast-check";
import { ConfigurationError } from "../../src/config/problem.ts";
import { Secret } from "../../src/config/secret.ts";
import { settingsFromText } from "../../src/config/settings-from-text.ts";
import { runs } from "../support/property.ts";

const ORIGIN = { name: "sluice.yaml", directory: "/", storeDefault: "memory:" };
const ENVIRONMENT = { PROVIDER_KEY: "Hush-from-environment", LIMIT: "10" };

/** Every secret begins with Hush. */
const FILE = `store: redis://user:Hush-1@127.0.0.1:6379/0
jobs: amqp://user:Hush-2@127.0.0.1/vhost
providers:
  openai:
    base_url: https://api.openai.com
    accounts:
      - name: main
        key: \${PROVIDER_KEY}
      - { name: other, key: Hush-3-9f3kQ2 }
  anthropic:
    accounts: [{ name: main, key: "\${PROVIDER_KEY}", limits: [{ meter: tokens, limit: 5, per: 1m }] }]
plans:
  free:
    limits:
      - { meter: requests, limit: 10, per: 1m }
identity:
  keys:
    - key: Hush-4-9f3kQ2
      user: alice
      plan: free
    - { key: "Hush-5-9f3kQ2", user: bob, plan: free }
    - { user: carol, key: 'Hush-6-9f3kQ2' }
alerts:
  webhook:
    url: https://hooks.example.com/Hush-8-9f3kQ2
    secret: whsec_Hush99f3kQ2Hush99f3kQ2Hush99f3kQ2Hus
    allow_addresses: [10.0.0.0/8]
`;

const load = (text: string) => settingsFromText(text, ORIGIN, ENVIRONMENT);

/** One slip of the finger: some characters gone, some others in their place. */
const slip = fc.record({
  at: fc.nat(FILE.length),
  gone: fc.integer({ min: 0, max: 6 }),
  typed: fc
    .array(
      fc.constantFrom(
        "k",
        ":",
        " ",
        "\n",
        "\n  ",
        ",",
        "{",
        "}",
        "[",
        "]",
        '"',
        "'",
        "&a ",
        "*a ",
        "- ",
        "#",
        "|",
        "?",
        "!x ",
        "1",
      ),
      {
        maxLength: 2,
      },
    )
    .map((parts) => parts.join("")),
});

const withSlip = (text: string, { at, gone, typed }: { at: number; gone: number; typed: string }) =>
  text.slice(0, at) + typed + text.slice(at + gone);

test("settingsFromText accepts the file that the next test corrupts", () => {
  assert.ok(load(FILE));
});

test("settingsFromText shows no secret, whatever slip of the finger the file suffers (X1)", () => {
  const property = fc.property(fc.array(slip, { minLength: 1, maxLength: 2 }), (slips) => {
    const text = slips.reduce(withSlip, FILE);
    try {
      load(text);
    } catch (error) {
      assert.ok(error instanceof ConfigurationError, String(error));
      assert.ok(error.problems.length > 0);
      const shown = `${error.message} ${JSON.stringify(error.problems)} ${inspect(error, { depth: 9 })}`;
      // Four letters suffice: the first may be what the slip has hit.
      assert.doesNotMatch(shown, /Hus|ush-|from-env|9f3kQ2/, `${error.message}\n\n${text}`);
    }
  });
  fc.assert(property, runs(600));
});

test("settingsFromText shows no text that runs into the next line, where a colon was forgotten (X1)", () => {
  const text = `plans: { free: {} }
identity:
  keys:
    - { user: alice, plan: free
        key Hush-7-9f3kQ2 }`;
  assert.throws(
    () => load(text),
    (error) => {
      assert.ok(error instanceof ConfigurationError);
      assert.match(
        error.message,
        /:4:28: identity\.keys\[0\]\.plan: found .*several lines; there is no such plan/,
      );
      assert.doesNotMatch(error.message, /Hush/);
      return true;
    },
  );
});

test("Secret shows itself to nobody who does not ask for it (X1)", () => {
  const secret = new Secret("Hush");
  const shown = [
    `${secret}`,
    JSON.stringify({ secret }),
    inspect({ secret }, { showHidden: true, depth: 9 }),
    String(secret),
  ];
  for (const text of shown) assert.doesNotMatch(text, /Hush/);
  assert.equal(secret.reveal(), "Hush");
});

test("Settings as JSON hold no secret (X1)", () => {
  const settings = load(FILE);
  assert.doesNotMatch(inspect(settings, { depth: 20 }) + JSON.stringify(settings), /Hush/);
});
