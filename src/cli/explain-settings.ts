import type { ListenAddress, StoreSettings } from "../config/connections.ts";
import type { ProviderSettings, Settings } from "../config/settings.ts";
import { exactDuration } from "../core/duration.ts";
import { PRIORITIES } from "../core/fairness/permit.ts";
import { metersCost } from "../core/policy/compiled-policy.ts";
import type { LimitRule, Plan } from "../core/policy/policy.ts";
import { BASIS_POINTS } from "../core/price/model-price.ts";
import type { OwnPrice } from "../core/price/price-book.ts";
import { explainRates } from "./explain-price.ts";
import { explainRule } from "./explain-rule.ts";

const addressText = ({ host, port }: ListenAddress) => `${host.includes(":") ? `[${host}]` : host}:${port}`;

/** No script of Redis sees several realms at once, and a queue over all of them would need one. */
const NO_WAITING = ", spread over several hash tags: calls over a limit are refused instead of waiting";

function storeText(store: StoreSettings): string {
  switch (store.kind) {
    case "memory":
      return "in the memory of this process: a restart forgets everything";
    case "embedded": {
      const survived =
        store.durability === "machine" ? "the death of the machine" : "the death of the process";
      return `in ${store.directory}: what is counted survives ${survived}`;
    }
    case "redis":
      return `in Redis at ${store.shown}${store.realms === 1 ? "" : NO_WAITING}`;
  }
}

const ruleLines = (rules: readonly LimitRule[], indent: string) =>
  rules.map((rule) => `${indent}${rule.name}: ${explainRule(rule)}`);

function providerLines(provider: ProviderSettings, settings: Settings): readonly string[] {
  const accounts = provider.accounts.flatMap((account) => [
    `    account ${account.name}: ${account.key === undefined ? "no key" : "with a key"}`,
    ...ruleLines(settings.policy.accountLimits.get(account.id) ?? [], "      "),
  ]);
  return [`  ${provider.name}: ${provider.format} format, at ${provider.baseUrl}`, ...accounts];
}

function ownPriceLine({ model, provider, fromMs, price }: OwnPrice): string {
  const whose = provider === undefined ? model : `${model} of ${provider}`;
  const from = fromMs === Number.NEGATIVE_INFINITY ? "" : ` from ${new Date(fromMs).toISOString()} on`;
  return `  ${whose}: ${explainRates(price.rates)}${from}`;
}

function priceLines({ prices }: Settings): readonly string[] {
  const discounts = [...prices.paidBasisPoints].map(
    ([account, paid]) => `  account ${account}: ${(BASIS_POINTS - paid) / 100} % off the catalogue's prices`,
  );
  const tiers = [...(prices.serviceTiers ?? [])].map(
    ([provider, shares]) =>
      `  provider ${provider}: ${[...shares].map(([tier, share]) => `${tier} ${share / BASIS_POINTS} times the catalogue's prices`).join(", ")}`,
  );
  const unknown =
    prices.unknown === undefined ? "refused by limits on cost" : explainRates(prices.unknown.rates);
  return [
    ...prices.own.map(ownPriceLine),
    ...discounts,
    ...tiers,
    `  models without a known price: ${unknown}`,
  ];
}

const overLimitText = ({ maxWaitMs, keepalive }: Plan) =>
  maxWaitMs === 0
    ? "is refused at once"
    : `waits for its turn, ${exactDuration(maxWaitMs)} at most${keepalive ? ", streams with comments while they wait" : ""}`;

const UNREAD_TEXT: Readonly<Record<Plan["unreadCalls"], string>> = {
  pass: "",
  refuse: "; batches, images and other calls whose use nobody could count are refused",
};

function planLines(plan: Plan): readonly string[] {
  return [
    `  ${plan.name}: priority ${plan.priority}, weight ${plan.weight}; a call over a limit ${overLimitText(plan)}${UNREAD_TEXT[plan.unreadCalls]}`,
    ...(plan.limits.length === 0 ? ["    no limits of its own"] : ruleLines(plan.limits, "    ")),
  ];
}

/** What of the waiting room a plan does not say. */
function roomLines({ policy, store }: Settings): readonly string[] {
  if (store.kind === "redis" && store.realms > 1) return [];
  if ([...policy.plans.values()].every(({ maxWaitMs }) => maxWaitMs === 0)) return [];
  const { waitingMax, waitingPerFlowMax, minShares } = policy.room;
  const shares = PRIORITIES.map((priority, band) => ({ priority, share: minShares[band] }))
    .filter(({ share }) => share > 0)
    .map(({ priority, share }) => `${priority} ${100 * share} %`);
  return [
    `  up to ${waitingMax} calls wait, ${waitingPerFlowMax} of a user; the others are refused`,
    ...(shares.length === 0
      ? []
      : [`  what priorities get though higher ones could take it: ${shares.join(", ")}`]),
  ];
}

function callerLines({ identity }: Settings): readonly string[] {
  const keys = [...identity.keys.values()].map(({ key, user, plan, team, feature }) => {
    const rest = [team && `team ${team}`, feature && `feature ${feature}`].filter(Boolean);
    return `  key ${key}: ${[`user ${user}`, `plan ${plan}`, ...rest].join(", ")}`;
  });
  const headers = identity.trustedHeaders;
  const from = ["user", "plan", "team", "feature"] as const;
  const believed = from
    .filter((name) => headers?.[name] !== undefined)
    .map((name) => `${name} from ${headers?.[name]}`);
  return [
    ...keys,
    ...(headers === undefined ? [] : [`  headers of trusted addresses: ${believed.join(", ")}`]),
    identity.anonymousPlan === undefined
      ? "  everybody else is refused"
      : `  everybody else: plan ${identity.anonymousPlan}, counted per address`,
  ];
}

/** What a configuration means, in plain words, line by line. Holds no secret (X1). */
export function explainSettings(settings: Settings): string {
  const { policy } = settings;
  const section = (title: string, lines: readonly string[]) =>
    lines.length === 0 ? [] : ["", title, ...lines];
  return [
    `listens on ${addressText(settings.listen)}`,
    `counts ${storeText(settings.store)}`,
    ...section(
      "providers",
      [...settings.providers.values()].flatMap((provider) => providerLines(provider, settings)),
    ),
    ...section("plans", [...policy.plans.values()].flatMap(planLines)),
    ...section("limits for all plans", ruleLines(policy.limits, "  ")),
    ...section("waiting room", roomLines(settings)),
    ...section(
      "aliases",
      [...settings.aliases].map(([alias, model]) => `  ${alias} stands for ${model}`),
    ),
    ...section("prices", metersCost(policy) ? priceLines(settings) : []),
    ...section(
      "alerts",
      settings.alertWebhook === undefined ? [] : [`  are sent to ${settings.alertWebhook.host}, signed`],
    ),
    ...section("callers", callerLines(settings)),
  ].join("\n");
}
