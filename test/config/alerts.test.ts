import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { parseWebhookUrl } from "../../src/config/alert-schema.ts";
import { ConfigurationError } from "../../src/config/problem.ts";
import { isPublicAddress } from "../../src/config/public-address.ts";
import { settingsFromText } from "../../src/config/settings-from-text.ts";
import { WEBHOOK_SECRET } from "../support/webhook-receiver.ts";

const ORIGIN = { name: "sluice.yaml", directory: "/", storeDefault: "memory:" };
const load = (text: string) =>
  settingsFromText(`identity: { keys: [{ key: key-of-alice, user: alice }] }\n${text}`, ORIGIN, {
    SECRET: WEBHOOK_SECRET,
  });

const shares = (text: string) => load(text).policy.limits.map(({ alertsAt }) => alertsAt);

const LIMITS = `
limits:
  - { name: a, meter: cost, limit: 1, per: day }
  - { name: b, meter: cost, limit: 1, per: day, alerts_at: [10] }
  - { name: c, meter: tokens, limit: 1, per: day }
  - { name: d, meter: tokens, limit: 1, per: 1h, alerts_at: [90, 120] }
  - { name: e, meter: cost, limit: 1, per: 7d, alerts_at: [] }`;

test("settingsFromText gives limits on cost alerts at 50, 80 and 100 %, unless the file or the limit says otherwise (E8)", () => {
  assert.deepEqual(shares(LIMITS), [[50, 80, 100], [10], undefined, [90, 120], []]);
  assert.deepEqual(shares(`alerts: { at: [75] }${LIMITS}`), [[75], [10], undefined, [90, 120], []]);
  assert.deepEqual(shares(`alerts: { at: [] }${LIMITS}`)[0], []);
});

test("settingsFromText reads a webhook with its secret from the environment, and shows neither (X1)", () => {
  const settings = load(
    `alerts: { webhook: { url: "https://hooks.example.com:8443/in?token=t", secret: "\${SECRET}" } }${LIMITS}`,
  );
  const { alertWebhook } = settings;
  assert.ok(alertWebhook !== undefined);
  assert.equal(alertWebhook.url.reveal(), "https://hooks.example.com:8443/in?token=t");
  assert.equal(alertWebhook.host, "hooks.example.com:8443");
  assert.equal(alertWebhook.secret.reveal(), WEBHOOK_SECRET);
  assert.doesNotMatch(JSON.stringify(settings), /token=t|whsec_/);
  assert.deepEqual([alertWebhook.isAllowed("10.0.0.1"), alertWebhook.isAllowed("9.9.9.9")], [false, true]);
  const local = load(
    `alerts: { webhook: { url: "http://10.0.0.1/", secret: "\${SECRET}", allow_addresses: [10.0.0.0/8] } }${LIMITS}`,
  ).alertWebhook;
  assert.deepEqual([local?.isAllowed("10.0.0.1"), local?.isAllowed("127.0.0.1")], [true, false]);
});

describe("settingsFromText explains what is wrong with alerts:", () => {
  const cases: readonly (readonly [text: string, key: string, says: RegExp])[] = [
    ["alerts: { at: [0] }", "alerts.at[0]", /found 0; allowed: percent/],
    ["alerts: { at: [0.5] }", "alerts.at[0]", /found 0\.5; allowed: percent/],
    ["alerts: { at: [1001] }", "alerts.at[0]", /allowed: percent/],
    ["alerts: { at: 80 }", "alerts.at", /a list of up to 10 numbers/],
    ["alerts: { at: [1,2,3,4,5,6,7,8,9,10,11] }", "alerts.at", /a list of up to 10 numbers/],
    ["alerts: { at: [80, 80] }", "alerts.at[1]", /found 80; this share is named twice/],
    ["alerts: { wehbook: {} }", "alerts.wehbook", /did you mean "webhook"/],
    ["alerts: { webhook: { url: 'https://a.example' } }", "alerts.webhook.secret", /"secret" is missing/],
    [
      "alerts: { webhook: { url: 'ftp://a.example/hush', secret: hush } }",
      "alerts.webhook.url",
      /found a value that is not shown here; allowed: an http/,
    ],
    [
      "alerts: { webhook: { url: 'https://a.example', secret: hush } }",
      "alerts.webhook.secret",
      /not shown here; allowed: 24 to 64 random bytes/,
    ],
    [
      `alerts: { webhook: { url: 'http://169.254.169.254/x', secret: "\${SECRET}" } }`,
      "alerts.webhook.url",
      /no public address/,
    ],
    [
      `alerts: { webhook: { url: 'http://[::1]/', secret: "\${SECRET}", allow_addresses: [127.0.0.1] } }`,
      "alerts.webhook.url",
      /no public address/,
    ],
    [
      "limits: [{ meter: concurrency, limit: 1, alerts_at: [50] }]",
      "limits[0].alerts_at",
      /counts open calls/,
    ],
    [
      "limits: [{ meter: tokens, limit: 1, per: 1h, alerts_at: [50, 50] }]",
      "limits[0].alerts_at[1]",
      /named twice/,
    ],
  ];
  for (const [text, key, says] of cases) {
    test(`${key} ${says.source}`, () => {
      assert.throws(
        () => load(text),
        (error) => {
          assert.ok(error instanceof ConfigurationError);
          const problem = error.problems.find((one) => one.key === key);
          assert.match(problem?.message ?? error.message, says);
          assert.doesNotMatch(error.message, /hush/);
          return true;
        },
      );
    });
  }
});

test("settingsFromText warns of a webhook that nothing is ever told to", () => {
  const webhook = `{ url: "https://hooks.example.com", secret: "\${SECRET}" }`;
  const warned = (text: string) => load(text).warnings.some(({ key }) => key === "alerts.webhook");
  const tokens = "limits: [{ meter: tokens, limit: 1, per: day }]";
  assert.equal(warned(`alerts: { webhook: ${webhook} }\n${tokens}`), true);
  assert.equal(
    warned(`alerts: { at: [], webhook: ${webhook} }\nlimits: [{ meter: cost, limit: 1, per: day }]`),
    true,
  );
  assert.equal(warned(`alerts: { webhook: ${webhook} }${LIMITS}`), false);
  assert.equal(warned(tokens), false);
});

test("isPublicAddress knows what is nobody's in the internet (X7)", () => {
  const no = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "172.31.255.255",
    "192.168.0.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "255.255.255.255",
    "224.0.0.1",
    "192.0.2.1",
    "::1",
    "::",
    "fe80::1",
    "fd00::1",
    "fc00::1",
    "ff02::1",
    "::ffff:10.0.0.1",
    "::ffff:a00:1",
    "64:ff9b::a00:1",
    "2002:a00:1::",
    "2001:db8::1",
    "2001::1",
    "localhost",
    "",
  ];
  const yes = [
    "8.8.8.8",
    "172.32.0.1",
    "172.15.255.255",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00::1",
    "::ffff:8.8.8.8",
  ];
  assert.deepEqual(no.filter(isPublicAddress), []);
  assert.deepEqual(
    yes.filter((address) => !isPublicAddress(address)),
    [],
  );
});

test("parseWebhookUrl takes http and https, without a login", () => {
  for (const text of ["", "x", "ftp://a/", "https://u:p@a/", "https://a/#x", "file:///etc/passwd"]) {
    assert.equal(parseWebhookUrl(text), undefined, text);
  }
  assert.equal(parseWebhookUrl("https://a.example/x?y=z")?.href, "https://a.example/x?y=z");
});
