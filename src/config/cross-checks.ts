import { exactDuration } from "../core/duration.ts";
import { checkAlerts, checkLimitAlerts, warnOfNoAlerts } from "./alert-checks.ts";
import { parseDuration } from "./duration.ts";
import { MIN_SHARE_DEFAULTS, NAME_ALLOWED, NAME_PATTERN, PROVIDER_NAME_PATTERN } from "./field-schemas.ts";
import { asList, asMap, asText, type RawMap, type Report } from "./finding.ts";
import { keyHash } from "./key-hash.ts";
import { checkLimit, type LimitPlace, limitName } from "./limit-checks.ts";
import { warnOfNotBuilt } from "./not-built.ts";
import { checkPrices } from "./price-checks.ts";
import type { KeyPath } from "./problem.ts";
import { callerKinds, checkReachable } from "./reachability.ts";

/** First parts of paths that are Sluice's own. */
const RESERVED_PROVIDERS = ["v1", "sluice", "healthz", "readyz", "metrics"];
/** Held connections are a cost to both sides; what takes longer is a job. */
const MAX_WAIT_MS_MAX = 600_000;

/** Everything that takes more than one part of the file to see. Works on what is there, whatever else is wrong with the file. */
export function crossCheck(file: RawMap, report: Report): void {
  checkProviders(file, report);
  checkPlans(file, report);
  checkLimits(file, report);
  checkMinShares(file, report);
  checkIdentity(file, report);
  checkAliases(asMap(file.aliases), report);
  checkPrices(file, report);
  checkAlerts(file, report);
}

/** What is allowed but probably not what was meant. */
export function warnings(file: RawMap, report: Report): void {
  warnOfNotBuilt(file, report);
  const limits: RawMap[] = [];
  forEachLimit(file, (limit) => limits.push(limit));
  warnOfNoAlerts(file, limits, report);
  const identity = asMap(file.identity);
  const kinds = callerKinds(identity);
  if (kinds.length === 0) {
    report({
      path: ["identity"],
      message: "nobody can call: there are no keys, no trusted headers, and anonymous callers are rejected",
    });
    return;
  }
  for (const plan of planNames(file)) {
    if (kinds.some((kind) => kind.plan === "anything" || kind.plan.includes(plan))) continue;
    report({ path: ["plans", plan], atKey: true, message: `nobody has the plan "${plan}"` });
  }
}

/** The plans that a file names; `default` where it names none. */
function planNames(file: RawMap): readonly string[] {
  const names = Object.keys(asMap(file.plans));
  return names.length === 0 ? ["default"] : names;
}

function forEachLimit(
  file: RawMap,
  visit: (limit: RawMap, place: LimitPlace, path: KeyPath, plan: string | undefined) => void,
): void {
  const each = (list: unknown, place: LimitPlace, path: KeyPath, plan: string | undefined) => {
    asList(list).forEach((limit, i) => {
      visit(asMap(limit), place, [...path, i], plan);
    });
  };
  for (const [plan, shape] of Object.entries(asMap(file.plans))) {
    each(asMap(shape).limits, "plan", ["plans", plan, "limits"], plan);
  }
  each(file.limits, "shared", ["limits"], undefined);
  for (const [provider, shape] of Object.entries(asMap(file.providers))) {
    asList(asMap(shape).accounts).forEach((account, i) => {
      each(asMap(account).limits, "account", ["providers", provider, "accounts", i, "limits"], undefined);
    });
  }
}

function checkProviders(file: RawMap, report: Report): void {
  for (const [name, shape] of Object.entries(asMap(file.providers))) {
    const path = ["providers", name];
    if (!PROVIDER_NAME_PATTERN.test(name)) {
      const message = "allowed: a name of up to 32 lower-case letters, digits, dashes and underscores";
      report({ path, atKey: true, message });
    } else if (RESERVED_PROVIDERS.includes(name)) {
      report({
        path,
        atKey: true,
        message: `/${name}/… is Sluice's own path: call the provider something else`,
      });
    }
    const provider = asMap(shape);
    if (provider.base_url === undefined && name !== "openai" && name !== "anthropic") {
      report({
        path: [...path, "base_url"],
        message: '"base_url" is missing; only openai and anthropic have a known one',
      });
    }
    const seen = new Set<string>();
    asList(provider.accounts).forEach((account, i) => {
      const accountName = asText(asMap(account).name);
      if (accountName === undefined) return;
      if (seen.has(accountName)) {
        report({
          path: [...path, "accounts", i, "name"],
          shows: "value",
          message: "another account has this name",
        });
      }
      seen.add(accountName);
    });
  }
}

function checkPlans(file: RawMap, report: Report): void {
  for (const [name, shape] of Object.entries(asMap(file.plans))) {
    const path = ["plans", name];
    if (!NAME_PATTERN.test(name)) report({ path, atKey: true, message: `allowed: ${NAME_ALLOWED}` });
    if (name === "reject") {
      report({
        path,
        atKey: true,
        message: "no plan can be called reject: identity.anonymous means something else by it",
      });
    }
    const plan = asMap(shape);
    if (plan.max_wait !== undefined && plan.when_limited === "reject") {
      const message =
        "a call that is rejected at once has no max_wait; allowed with when_limited: wait or defer";
      report({ path: [...path, "max_wait"], atKey: true, message });
    }
    const maxWaitMs = parseDuration(asText(plan.max_wait) ?? "");
    if (maxWaitMs !== undefined && (maxWaitMs < 1 || maxWaitMs > MAX_WAIT_MS_MAX)) {
      const most = exactDuration(MAX_WAIT_MS_MAX);
      report({ path: [...path, "max_wait"], shows: "value", message: `allowed: from 1ms to ${most}` });
    }
  }
}

/** What is promised to lower priorities must leave most of the service to whoever is first, or priorities turn round. */
const MIN_SHARES_MAX = 0.9;

function checkMinShares(file: RawMap, report: Report): void {
  const shares = { ...MIN_SHARE_DEFAULTS, ...asMap(file.min_share) };
  const sum = Object.values(shares).reduce<number>((all, share) => all + Number(share), 0);
  // What is no number is told where it stands.
  if (!(sum > MIN_SHARES_MAX)) return;
  const message = `all shares together are ${Math.round(100 * sum)} %; allowed: up to ${100 * MIN_SHARES_MAX} %, the defaults (${Object.entries(
    MIN_SHARE_DEFAULTS,
  )
    .map(([priority, share]) => `${priority}: ${share}`)
    .join(", ")}) included`;
  report({ path: ["min_share"], atKey: true, message });
}

function checkLimits(file: RawMap, report: Report): void {
  forEachLimit(file, (limit, place, path, plan) => {
    checkLimit(limit, place, path, report);
    checkLimitAlerts(limit, path, report);
    if (place !== "account") checkReachable(limit, plan, file, path, report);
  });
  checkLimitNames(file, report);
}

/** Limits that can meet in one call have different names: a plan's, the shared ones, an account's. */
function checkLimitNames(file: RawMap, report: Report): void {
  const shared = new Map<string, KeyPath>();
  const byOwner = new Map<string, Map<string, KeyPath>>();
  const complain = (name: string, path: KeyPath, limit: RawMap) => {
    if (limit.name !== undefined) {
      const message = "another limit that can apply to the same call has this name";
      report({ path: [...path, "name"], shows: "value", message });
    } else {
      report({
        path,
        message: `another limit that can apply to the same call is called "${name}" too; give one a name`,
      });
    }
  };
  const rest: { readonly limit: RawMap; readonly name: string; readonly path: KeyPath }[] = [];
  forEachLimit(file, (limit, place, path) => {
    const name = limitName(limit, place);
    if (place !== "shared") rest.push({ limit, name, path });
    else if (shared.has(name)) complain(name, path, limit);
    else shared.set(name, path);
  });
  const inPlans = new Set<string>();
  for (const { limit, name, path } of rest) {
    const owner = path.slice(0, -1).join("/");
    let own = byOwner.get(owner);
    if (own === undefined) {
      own = new Map();
      byOwner.set(owner, own);
    }
    // Plans come first: an account's limits meet those of every plan.
    const clashes = own.has(name) || shared.has(name) || (path[0] === "providers" && inPlans.has(name));
    if (clashes) complain(name, path, limit);
    own.set(name, path);
    if (path[0] === "plans") inPlans.add(name);
  }
}

function checkIdentity(file: RawMap, report: Report): void {
  const identity = asMap(file.identity);
  const plans = planNames(file);
  const isKnown = (plan: unknown, path: KeyPath) => {
    if (typeof plan !== "string" || plans.includes(plan)) return;
    report({ path, shows: "value", message: `there is no such plan; allowed: ${plans.join(", ")}` });
  };
  isKnown(identity.default_plan, ["identity", "default_plan"]);
  if (identity.anonymous !== "reject") isKnown(identity.anonymous, ["identity", "anonymous"]);
  const hasDefault = identity.default_plan !== undefined || plans.length === 1;
  const hashes = new Set<string>();
  const names = new Set<string>();
  asList(identity.keys).forEach((entry, i) => {
    const path = ["identity", "keys", i];
    const key = asMap(entry);
    if ((key.key === undefined) === (key.key_sha256 === undefined)) {
      report({ path, message: "a key has either key or key_sha256" });
    }
    const hash = asText(key.key_sha256) ?? (typeof key.key === "string" ? keyHash(key.key) : undefined);
    if (hash !== undefined && hashes.has(hash)) report({ path, message: "another entry has the same key" });
    if (hash !== undefined) hashes.add(hash);
    const name = asText(key.name);
    if (name !== undefined && names.has(name)) {
      report({ path: [...path, "name"], shows: "value", message: "another key has this name" });
    }
    if (name !== undefined) names.add(name);
    if (key.plan === undefined && !hasDefault) {
      const message = `"plan" is missing, and there is neither an identity.default_plan nor a single plan; allowed: ${plans.join(", ")}`;
      report({ path: [...path, "plan"], message });
    }
    isKnown(key.plan, [...path, "plan"]);
  });
  const headers = Object.entries(asMap(identity.trusted_headers)).filter(([name]) => name !== "from");
  const used = new Set<string>();
  for (const [name, header] of headers) {
    const lower = asText(header)?.toLowerCase();
    if (lower === undefined) continue;
    const path = ["identity", "trusted_headers", name];
    if (used.has(lower))
      report({ path, shows: "value", message: "two attributes cannot come from one header" });
    used.add(lower);
  }
}

function checkAliases(aliases: RawMap, report: Report): void {
  for (const [alias, model] of Object.entries(aliases)) {
    if (typeof model !== "string" || !Object.hasOwn(aliases, model)) continue;
    const message = "an alias stands for a model, not for another alias";
    report({ path: ["aliases", alias], shows: "value", message });
  }
}
