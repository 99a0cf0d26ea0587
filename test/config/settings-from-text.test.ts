import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { ConfigurationError } from "../../src/config/problem.ts";
import { settingsFromText } from "../../src/config/settings-from-text.ts";
import type { Environment } from "../../src/config/yaml-source.ts";

const ORIGIN = { name: "sluice.yaml", directory: "/etc/sluice", storeDefault: "embedded:./.sluice" };
const load = (text: string, environment: Environment = {}) => settingsFromText(text, ORIGIN, environment);

function problemsOf(text: string, environment: Environment = {}): string[] {
  try {
    load(text, environment);
  } catch (error) {
    assert.ok(error instanceof ConfigurationError, String(error));
    return error.message.split("\n");
  }
  return [];
}

const EXAMPLE = readFileSync(join(import.meta.dirname, "fixtures", "design-example.yaml"), "utf8");
const KEYS = { OPENAI_API_KEY: "sk-1", ANTHROPIC_API_KEY: "sk-2", ALICE_KEY: "key-of-alice" };

test("settingsFromText reads the example of the design as it stands", () => {
  const settings = load(EXAMPLE, KEYS);
  assert.deepEqual(settings.listen, { host: "127.0.0.1", port: 8080 });
  assert.deepEqual(settings.store, {
    kind: "embedded",
    directory: "/etc/sluice/.sluice",
    durability: "process",
  });
  assert.equal(settings.providers.get("openai")?.accounts[0].key?.reveal(), "sk-1");
  const free = settings.policy.plans.get("free");
  assert.deepEqual(
    free?.limits.map(({ name, limit }) => [name, limit]),
    [
      ["requests-1m", 10],
      ["requests-1h", 100],
      ["tokens-1m", 1_000],
      ["cost-day", 500_000_000],
    ],
  );
  assert.equal(free?.maxWaitMs, 20_000);
  assert.deepEqual(
    settings.policy.accountLimits.get("openai/main")?.map(({ name, scope }) => [name, scope]),
    [
      ["account-requests-1m", ["account"]],
      ["account-tokens-1m", ["account"]],
    ],
  );
  const premiumCost = settings.policy.plans.get("premium")?.limits[1];
  assert.deepEqual([premiumCost?.reserve, premiumCost?.onStoreFailure], ["worst_case", "closed"]);
  const [alice] = [...settings.identity.keys.values()];
  assert.deepEqual([alice.user, alice.team, alice.plan, alice.key], ["alice", "research", "free", "alice"]);
  assert.ok(settings.identity.trustedHeaders?.isTrusted("127.0.0.1"));
});

test("settingsFromText stores client keys hashed (X1)", () => {
  const [hash] = [...load(EXAMPLE, KEYS).identity.keys.keys()];
  assert.match(hash, /^[0-9a-f]{64}$/);
  const byHash = `identity: { keys: [{ key_sha256: ${hash}, user: alice }] }`;
  assert.deepEqual([...load(byHash).identity.keys.keys()], [hash]);
});

test("settingsFromText has a default for everything", () => {
  for (const text of ["", "# nothing\n", "{}"]) {
    const settings = load(text);
    assert.deepEqual([...settings.providers.keys()], ["openai", "anthropic"]);
    assert.deepEqual([...settings.policy.plans.keys()], ["default"]);
    assert.equal(settings.identity.defaultPlan, "default");
    assert.equal(settings.identity.anonymousPlan, undefined);
  }
  assert.equal(load("store: memory:  # as the documentation writes it").store.kind, "memory");
});

test("settingsFromText warns of what this version does not do", () => {
  const warned = load(EXAMPLE, KEYS).warnings.map(({ key }) => key);
  assert.deepEqual(warned, ["admin", "jobs"]);
  assert.deepEqual(
    load("plans: { a: {}, b: {} }").warnings.map(({ message }) => message),
    ["nobody can call: there are no keys, no trusted headers, and anonymous callers are rejected"],
  );
  const deferring = load("plans: { a: { when_limited: defer } }\nidentity: { anonymous: a }").warnings;
  assert.deepEqual(
    deferring.map(({ key, message }) => [key, /defer is not built yet/.test(message)]),
    [["plans.a.when_limited", true]],
  );
  assert.match(
    load("plans: { a: {}, b: {} }\nidentity: { anonymous: a }").warnings[0].message,
    /nobody has the plan "b"/,
  );
});

test("settingsFromText reads own prices in exact integers, with the time from which each holds (E6)", () => {
  const { prices, pricesFile } = load(`
store: embedded:./state
providers:
  openai:
    discount: 0.1
    accounts: [{ name: a, key: k }, { name: b, key: k, discount: 0.1234 }, { name: c, key: k, discount: 0 }]
prices:
  - { model: "gpt-4o*", provider: openai, input: 2.5, cached_input: 1.25, output: 10, request: 0.000000003, from: 2026-07-01 }
  - { model: mine, input: 0.07, cache_write: 0.003625, output: 0, from: "2026-07-01T09:00:00.5+02:00" }
  - { model: "*:free", input: 0, output: 0 }
unknown_price: { input: 10, output: 30 }
`);
  assert.deepEqual(
    prices.own.map(({ model, provider, fromMs, price }) => {
      const { input, cachedInput, cacheWrite, output, request } = price.rates;
      return [model, provider, fromMs, input, cachedInput, cacheWrite, output, request];
    }),
    [
      ["gpt-4o*", "openai", Date.UTC(2026, 6, 1), 25e8, 125e7, 25e8, 1e10, 3e6],
      ["mine", undefined, Date.UTC(2026, 6, 1, 7, 0, 0, 500), 7e7, 7e7, 3_625_000, 0, 0],
      ["*:free", undefined, Number.NEGATIVE_INFINITY, 0, 0, 0, 0, 0],
    ],
  );
  assert.deepEqual(
    [...prices.paidBasisPoints],
    [
      ["openai/a", 9_000],
      ["openai/b", 8_766],
    ],
  );
  assert.deepEqual([prices.unknown?.rates.input, prices.unknown?.rates.output], [1e10, 3e10]);
  assert.equal(pricesFile, "/etc/sluice/state/prices.json");
  assert.equal(load("store: memory:").pricesFile, "/etc/sluice/.sluice/prices.json");
  assert.equal(load("").prices.unknown, undefined);
});

test("settingsFromText reads limits on cost in USD, bursts too", () => {
  const { limits } = load(`
limits:
  - { name: a, scope: global, meter: cost, limit: 0.000000001, per: 1h }
  - { name: b, scope: global, meter: cost, limit: 5, per: 1h, algorithm: token_bucket, burst: 0.29 }
  - { name: c, scope: global, meter: cost, limit: 5, per: 1h, algorithm: token_bucket }
identity: { anonymous: default }`).policy;
  assert.deepEqual(
    limits.map(({ limit, window }) => [limit, window.kind === "token_bucket" ? window.burst : undefined]),
    [
      [1, undefined],
      [5_000_000_000, 290_000_000],
      [5_000_000_000, 5_000_000_000],
    ],
  );
});

const limit = (text: string) =>
  `plans:\n  free:\n    limits:\n      - { ${text} }\nidentity: { anonymous: free }`;

test("settingsFromText lets a stream go on when a limit is used up, unless the limit says cut", () => {
  const onExhausted = (text: string) =>
    load(limit(`meter: tokens, limit: 1, per: 1m${text}`)).policy.plans.get("free")?.limits[0].onExhausted;
  assert.equal(onExhausted(""), "continue");
  assert.equal(onExhausted(", on_exhausted: continue"), "continue");
  assert.equal(onExhausted(", on_exhausted: cut"), "cut");
});

/** Marks the place that a problem must name. */
const MARK = "▸";

/** What is wrong, with a mark where; the key; a part of what is said about it. */
const WRONG: readonly (readonly [marked: string, key: string, words: string])[] = [
  [
    'providers: { openai: { accounts: [{ name: a, key: ▸"sk-1\\n" }] } }',
    "providers.openai.accounts[0].key",
    "printable ASCII characters, without blanks and line ends",
  ],
  [
    "identity: { keys: [{ key: ▸schlüsselchen, user: a }] }",
    "identity.keys[0].key",
    "8 or more printable ASCII characters",
  ],
  ["▸planz: {}", "planz", 'unknown key "planz"; did you mean "plans"? allowed: listen, admin'],
  [
    "▸min_share: { high: 0.5, normal: 0.4 }",
    "min_share",
    "all shares together are 95 %; allowed: up to 90 %",
  ],
  ["min_share: { low: ▸5% }", "min_share.low", 'found "5%"; allowed: a number from 0 to 0.5'],
  ["plans: { a: { weight: ▸1e-307 } }", "plans.a.weight", "a number from 0.001 to 1000"],
  ["bounds: { ▸bodyBytesMax: 1 }", "bounds.bodyBytesMax", 'did you mean "body_bytes_max"?'],
  ["listen: ▸1.2.3.4", "listen", 'found "1.2.3.4"; allowed: HOST:PORT'],
  ["plans: ▸3", "plans", "found 3; allowed: a mapping"],
  ["plans:\n  ▸a b: {}", "plans.…", "allowed: a name of up to 64"],
  ["plans: { ▸reject: {} }", "plans.reject", "identity.anonymous means something else"],
  ["plans: { a: {}, ▸a: {} }", "", "this key is there twice"],
  ["plans: { a: { when_limited: reject, ▸max_wait: 1s } }", "plans.a.max_wait", "rejected at once"],
  ["plans: { a: { max_wait: ▸1h } }", "plans.a.max_wait", 'found "1h"; allowed: from 1ms to 10m'],
  [
    limit("meter: requests, limit: ▸-1, per: 1m"),
    "plans.free.limits[0].limit",
    "found -1; allowed: a number above 0",
  ],
  [
    limit("meter: requests, limit: ▸1.5, per: 1m"),
    "plans.free.limits[0].limit",
    "found 1.5; allowed: a whole number",
  ],
  [limit("meter: cost, limit: ▸1e9, per: day"), "plans.free.limits[0].limit", "allowed: US dollars"],
  [
    limit("meter: requests, limit: 2, per: 1m, algorithm: token_bucket, burst: ▸1.5"),
    "plans.free.limits[0].burst",
    "found 1.5; allowed: a whole number",
  ],
  ["prices: [{ model: x, ▸ouput: 1, input: 1, output: 2 }]", "prices[0].ouput", 'did you mean "output"?'],
  ["prices:\n  - ▸{ model: x, input: 1 }", "prices[0].output", '"output" is missing; it is US dollars'],
  ["prices: [{ model: x, input: ▸-1, output: 2 }]", "prices[0].input", "found -1; allowed: US dollars"],
  ["prices: [{ model: x, input: ▸cheap, output: 2 }]", "prices[0].input", 'found "cheap"; allowed: US'],
  ["prices: [{ model: x, input: 1, output: 2, from: ▸2026-02-30 }]", "prices[0].from", "allowed: a date"],
  ["prices: [{ model: x, input: 1, output: 2, from: ▸tomorrow }]", "prices[0].from", "allowed: a date"],
  [
    "prices: [{ model: x, provider: ▸opnai, input: 1, output: 2 }]",
    "prices[0].provider",
    'found "opnai"; there is no such provider; allowed: openai, anthropic',
  ],
  [
    "aliases: { best: gpt-5 }\nprices: [{ model: ▸best, input: 1, output: 2 }]",
    "prices[0].model",
    "the model that it stands for: gpt-5",
  ],
  [
    "prices:\n  - { model: x, input: 1, output: 2, from: 2026-01-01 }\n  - ▸{ model: x, input: 2, output: 2, from: 2026-01-01T00:00Z }",
    "prices[1]",
    "begins to hold at the same time",
  ],
  ["unknown_price: ▸allow", "unknown_price", 'found "allow"; allowed: refuse, or { input'],
  ["providers: { openai: { discount: ▸15 } }", "providers.openai.discount", "found 15; allowed: a share"],
  [
    limit("meter: ▸request, limit: 1, per: 1m"),
    "plans.free.limits[0].meter",
    'found "request"; allowed: one of requests',
  ],
  [
    limit("limit: 1, per: 1m").replace("{ limit", "▸{ limit"),
    "plans.free.limits[0].meter",
    '"meter" is missing',
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, ▸on_exhausted: cut"),
    "plans.free.limits[0].on_exhausted",
    "the meter requests is known when a call starts",
  ],
  [
    limit("meter: tokens, limit: 1, per: 1m, on_exhausted: ▸stop"),
    "plans.free.limits[0].on_exhausted",
    'found "stop"; allowed: one of continue, cut',
  ],
  [
    limit("meter: requests, limit: 1").replace("{ meter", "▸{ meter"),
    "plans.free.limits[0].per",
    '"per" is missing',
  ],
  [
    limit("meter: requests, limit: 1, per: ▸1 minute"),
    "plans.free.limits[0].per",
    'found "1 minute"; allowed: a duration such as',
  ],
  [limit("meter: requests, limit: 1, per: ▸0s"), "plans.free.limits[0].per", "allowed: from 1ms"],
  [limit("meter: requests, limit: 1, per: ▸60d, algorithm: token_bucket"), "plans.free.limits[0].per", "49d"],
  [
    limit("meter: requests, limit: 1, per: 1m, burst: ▸0"),
    "plans.free.limits[0].burst",
    "found 0; allowed: a number above 0",
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, ▸burst: 2"),
    "plans.free.limits[0].burst",
    "only algorithm: token_bucket",
  ],
  [
    limit("meter: requests, limit: 1, per: day, timezone: ▸Mars/Olympus"),
    "plans.free.limits[0].timezone",
    "an IANA time zone",
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, ▸timezone: UTC"),
    "plans.free.limits[0].timezone",
    "only day, week and month",
  ],
  [
    limit("meter: requests, limit: 1, per: day, ▸algorithm: token_bucket"),
    "plans.free.limits[0].algorithm",
    "calendar window",
  ],
  [limit("meter: concurrency, limit: 1, ▸per: 1m"), "plans.free.limits[0].per", "has no window"],
  [
    limit("meter: requests, limit: 1, per: 1m, weights: ▸{ output: 2 }"),
    "plans.free.limits[0].weights",
    "only the meter tokens",
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, scope: ▸[global, user]"),
    "plans.free.limits[0].scope",
    "stands alone",
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, match: { feature: ▸x }"),
    "plans.free.limits[0].match.feature",
    "never matches: no caller of plan free has such a feature",
  ],
  [
    limit("meter: requests, limit: 1, per: 1m, scope: ▸team"),
    "plans.free.limits[0].scope",
    "never matches: no caller of plan free has a team",
  ],
  [
    `${limit("meter: requests, limit: 1, per: 1m, match: { account: ▸nope/x }")}\nproviders: { openai: {} }`,
    "plans.free.limits[0].match.account",
    "never matches: accounts are written",
  ],
  ["providers: { groq: ▸{} }", "providers.groq.base_url", '"base_url" is missing'],
  ["providers: { ▸v1: { base_url: http://h } }", "providers.v1", "Sluice's own path"],
  [
    "providers: { openai: { accounts: [{ name: a }, { name: ▸a }] } }",
    "providers.openai.accounts[1].name",
    "another account has this name",
  ],
  [
    "providers: { openai: { accounts: [{ name: a, limits: [{ meter: requests, limit: 1, per: 1m, scope: ▸user }] }] } }",
    "providers.openai.accounts[0].limits[0].scope",
    "per account",
  ],
  ["store: ▸mysql://u:hush@h", "store", "not shown here; allowed: memory:"],
  [
    "identity: { anonymous: ▸gold }",
    "identity.anonymous",
    'found "gold"; there is no such plan; allowed: default',
  ],
  [
    "identity: { keys: [{ key: aaaaaaaa, user: a, plan: ▸gold }] }",
    "identity.keys[0].plan",
    "there is no such plan",
  ],
  [
    "plans: { a: {}, b: {} }\nidentity: { keys: [▸{ key: aaaaaaaa, user: a }] }",
    "identity.keys[0].plan",
    "neither an identity.default_plan nor a single plan",
  ],
  [
    "identity: { keys: [{ key: aaaaaaaa, user: a }, ▸{ key: aaaaaaaa, user: b }] }",
    "identity.keys[1]",
    "the same key",
  ],
  ["identity: { keys: [▸{ user: a }] }", "identity.keys[0]", "either key or key_sha256"],
  [
    "identity: { trusted_headers: { from: [▸10.0.0.0/33], user: x } }",
    "identity.trusted_headers.from[0]",
    'found "10.0.0.0/33"; allowed: an address',
  ],
  [
    "identity: { trusted_headers: { from: ['::1'], user: x, plan: ▸X } }",
    "identity.trusted_headers.plan",
    "cannot come from one header",
  ],
  ["aliases: { a: ▸b, b: c }", "aliases.a", "not for another alias"],
  ["a: [1▸", "", "a bracket that is not closed"],
];

for (const [marked, key, words] of WRONG) {
  test(`settingsFromText names the place, what was found and what is allowed: ${key} ${words}`, () => {
    const before = marked.slice(0, marked.indexOf(MARK)).split("\n");
    const place = `sluice.yaml:${before.length}:${before[before.length - 1].length + 1}: ${key === "" ? "" : `${key}: `}`;
    const problems = problemsOf(marked.replace(MARK, ""));
    assert.ok(
      problems.some((problem) => problem.startsWith(place) && problem.includes(words)),
      `${place}…${words}… is not in:\n${problems.join("\n")}`,
    );
    assert.doesNotMatch(problems.join("\n"), /NaN|undefined/);
  });
}

test("settingsFromText reports everything that is wrong at once, in the order of the file", () => {
  const text = `listen: x\nplanz: {}\n${limit("meter: requests, limit: 0, per: 1 m, burst: 0")}\nstore: nope`;
  assert.deepEqual(
    problemsOf(text).map((problem) => problem.split(": ")[1]),
    [
      "listen",
      "planz",
      "plans.free.limits[0].limit",
      "plans.free.limits[0].per",
      "plans.free.limits[0].burst",
      "plans.free.limits[0].burst",
      "store",
    ],
  );
});

test("settingsFromText asks for names where two limits can meet in one call under one", () => {
  const two = "[{ meter: requests, limit: 1, per: 1m }, { meter: requests, limit: 2, per: 60s }]";
  assert.match(
    problemsOf(`plans: { a: { limits: ${two} } }`).join(),
    /plans\.a\.limits\[1\]: another limit.*"requests-1m"/,
  );
  const shared =
    "limits: [{ meter: requests, limit: 1, per: 1m }]\nplans: { a: { limits: [{ meter: requests, limit: 2, per: 1m }] } }";
  assert.match(problemsOf(shared).join(), /plans\.a\.limits\[0\]: another limit/);
  const apart =
    "plans: { a: { limits: [{ meter: requests, limit: 1, per: 1m }] }, b: { limits: [{ meter: requests, limit: 2, per: 1m }] } }";
  assert.deepEqual(problemsOf(apart), []);
});

test("settingsFromText sees that a plan's limit asks for a key of another plan", () => {
  const text = (
    plan: string,
  ) => `plans: { a: { limits: [{ meter: requests, limit: 1, per: 1m, match: { key: laptop } }] }, b: {} }
identity: { keys: [{ key: aaaaaaaa, name: laptop, user: u, plan: ${plan} }, { key: bbbbbbbb, user: v, plan: a }] }`;
  assert.deepEqual(problemsOf(text("a")), []);
  assert.match(
    problemsOf(text("b")).join(),
    /match\.key: found "laptop"; never matches: no caller of plan a has such a key/,
  );
});

test("settingsFromText reads variables: texts, numbers, parts of texts, $${ for a literal ${", () => {
  const text = `listen: "\${HOST}:80"
plans: { free: { limits: [{ meter: requests, limit: "\${MAX}", per: "\${PER}" }] } }
identity: { keys: [{ key: "\${DIGITS}", user: "$\${x}", plan: free }] }`;
  const settings = load(text, { HOST: "h", MAX: "12", PER: "1m", DIGITS: "1234567890" });
  assert.equal(settings.listen.host, "h");
  assert.equal(settings.policy.plans.get("free")?.limits[0].limit, 12);
  assert.equal([...settings.identity.keys.values()][0].user, `$${"{x}"}`);
});

test("settingsFromText names a missing variable, its line and its key, and shows no variable's value (X1)", () => {
  const text = `providers:\n  openai:\n    accounts: [{ name: main, key: "\${NOPE}" }]\nlisten: \${SECRET}\njobs: "\${EMPTY}"`;
  const problems = problemsOf(text, { SECRET: "hush", EMPTY: "" });
  assert.equal(
    problems[0],
    "sluice.yaml:3:35: providers.openai.accounts[0].key: the environment variable NOPE is not set",
  );
  assert.match(problems[1], /^sluice\.yaml:4:9: listen: found "\$\{SECRET\}"; allowed/);
  assert.match(problems[2], /^sluice\.yaml:5:7: jobs: the environment variable EMPTY is empty/);
  assert.doesNotMatch(problems.join(), /hush/);
  assert.match(
    problemsOf("aliases: { a: $" + "{NOPE} }").join(),
    /a variable inside \{ \} or \[ \] needs quotes/,
  );
});

test("settingsFromText follows anchors and merge keys, also to name a place", () => {
  const text = `plans:
  free: &base
    weight: 2
    limits: [{ meter: requests, limit: 5, per: 1m }]
  gold:
    <<: *base
    weight: 3
identity: { anonymous: free }`;
  const { plans } = load(text).policy;
  assert.deepEqual([plans.get("gold")?.weight, plans.get("gold")?.limits[0].limit], [3, 5]);
  assert.match(
    problemsOf(text.replace("limit: 5", "limit: 0")).join("\n"),
    /:4:40: plans\.gold\.limits\[0\]\.limit: found 0/,
  );
});

test("settingsFromText refuses aliases that blow up (X3)", () => {
  const lines = ["a0: &a0 [x, x]"];
  for (let i = 1; i < 30; i++) lines.push(`a${i}: &a${i} [*a${i - 1}, *a${i - 1}, *a${i - 1}, *a${i - 1}]`);
  const startedMs = performance.now();
  assert.ok(problemsOf(lines.join("\n")).length > 0);
  assert.ok(performance.now() - startedMs < 2_000);
});
