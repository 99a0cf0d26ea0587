import type { Estimate, Usage } from "../estimate/usage.ts";
import type { Charge, Settlement, SubjectCharges } from "../limits/combine.ts";
import { OperationalError } from "../operational-error.ts";
import { COST_NANO_USD_MAX, costOf } from "../price/cost.ts";
import type { ModelPrice } from "../price/model-price.ts";
import { inServiceTier } from "../price/service-tier.ts";
import { type Applying, applyingRules } from "./applying-rules.ts";
import { type CallTarget, modelName } from "./call-target.ts";
import type { CompiledPolicy, CompiledRule } from "./compiled-policy.ts";
import { tokenUseOf } from "./endpoint.ts";
import { guessedInput } from "./input-guess.ts";
import { guessedOutput, heldPrice, roomFor } from "./output-guess.ts";
import type { Caller, LimitRule } from "./policy.ts";
import { amountOf } from "./rule-amount.ts";
import { boundedTokens, tokensUsed } from "./token-amount.ts";

/** What is known of a call's size before it is sent. */
export interface CallSize extends Estimate {
  /** A calibrated guess; the configured default where there is none. */
  readonly outputTokensExpected?: number | undefined;
  /** Whether that comes from calls of others: as little is known of this one as with the default. */
  readonly isOutputBorrowed?: boolean | undefined;
  /** What is read in the body, where `inputTokens` is what calls like this one have used. */
  readonly inputTokensRead?: number | undefined;
}

/** Everything that a call charges. */
export interface CallCharges {
  /** Keys distinct; the first is the user's, which has no charges where no limit is counted per user alone. */
  readonly subjects: readonly SubjectCharges[];
  /** By subject, whether other users are counted under it. */
  readonly isShared: readonly boolean[];
  /** The rules behind the charges, numbered through over all subjects. */
  readonly rules: readonly LimitRule[];
  /** The input that holds reckon with. */
  readonly inputTokens: number;
  /** Output that the holds with policy `expected` reckon with: when a stream outgrows it, `extensionFor` holds more. */
  readonly outputTokensHeld: number;
  /** The call's own maximum, which holds with policy `worst_case` reckon with where there is one. */
  readonly outputTokensMax: number | undefined;
  /** What the model cost at admission, in the tier that was asked for: what is held and settled, however long the call takes (E6). Absent where nothing is charged in money. */
  readonly price: ModelPrice | undefined;
  /** The same of another model that the provider has used for the call; undefined where nobody knows. Absent where nothing is charged in money. */
  readonly priceOf: ((model: string) => ModelPrice | undefined) | undefined;
  /** Internal to core/policy: the compiled rules in the order of `rules`. */
  readonly compiled: readonly CompiledRule[];
}

/** What the call's model costs, where a limit counts money. Throws `invalid_request` where nobody knows and such a limit has to. */
function priceOfCall(
  policy: CompiledPolicy,
  { cost, rules }: Applying,
  { account, model }: CallTarget,
  nowMs: number,
): ModelPrice | undefined {
  if (cost === "none") return undefined;
  const quote = policy.prices.quote(account, model, nowMs);
  if (quote.kind !== "unknown") return quote.price;
  if (cost === "shadow") return undefined;
  const limit = rules.find(({ rule }) => rule.meter === "cost" && rule.mode === "enforce")?.rule.name ?? "";
  throw new OperationalError(
    "invalid_request",
    `nobody knows a price of the model "${model.slice(0, SHOWN_LENGTH_MAX)}", and the limit "${limit}" counts money; the operator can give one (\`prices\`) or say what unknown models cost (\`unknown_price\`)`,
  );
}

/** Models' names come from callers. */
const SHOWN_LENGTH_MAX = 128;

/** What one limit holds. `need` is at least 1, so that a limit that is used up or in debt refuses whatever the estimate says. */
function chargeOf(
  compiled: CompiledRule,
  inputTokens: number,
  guess: number,
  own: number | undefined,
  nowMs: number,
  price: ModelPrice | undefined,
): Charge {
  const { rule } = compiled;
  const spec = compiled.specAt(nowMs);
  if (rule.reserve === "none") return { spec, hold: 0, need: 1 };
  const held = heldPrice(compiled, price);
  let outputTokens = own === undefined || guess < own ? guess : own;
  if (rule.reserve === "worst_case" && own !== undefined) outputTokens = own;
  else if (rule.mode === "shadow") {
    outputTokens = Math.min(
      outputTokens,
      roomFor(compiled, compiled.capacity, inputTokens, outputTokens, held),
    );
  }
  const counts = { inputTokens, cachedInputTokens: 0, outputTokens };
  const hold = amountOf(compiled, counts, counts, held);
  return { spec, hold, need: Math.max(1, hold) };
}

/**
 * What a call asks of every limit that applies to it, grouped by subject. Pure, apart from what the policy remembers; under a microsecond.
 *
 * A limit applies when the caller and the target have every attribute of its scope (a caller without a key counts as a user where the scope
 * says key), when all its globs match, and when the endpoint uses what it meters. Amounts: 1 for requests and concurrency; estimated input; for
 * output the smaller of the call's own maximum and the guess (`expected`), or the own maximum, and the guess where there is none
 * (`worst_case`); nothing (`none`). A hold never exceeds input and the call's own maximum (E5). In money, that input and output are plain ones
 * (`expected`), or all of the dearest kind (`worst_case`), at the price of this moment.
 *
 * Throws `OperationalError` `invalid_request` when the caller's plan does not exist, and when an enforced limit counts money and nobody knows the
 * model's price.
 */
export function chargesFor(
  policy: CompiledPolicy,
  caller: Caller,
  target: CallTarget,
  size: CallSize,
  nowMs: number,
): CallCharges {
  const use = tokenUseOf(target.endpoint);
  const applying = applyingRules(policy, caller, target, use);
  const { keys, isShared, counts, rules: compiled } = applying;
  const quoted = priceOfCall(policy, applying, target, nowMs);
  const price = quoted === undefined ? undefined : inServiceTier(quoted, size.serviceTier);
  const priceOf = quoted === undefined ? undefined : pricesAt(policy, target.account, nowMs);
  const learned = boundedTokens(size.inputTokens);
  const read = boundedTokens(size.inputTokensRead ?? learned);
  const inputTokens = guessedInput(compiled, learned, read, price);
  const hasOutput = use === "input_and_output";
  const own =
    !hasOutput || size.outputTokensMax === undefined ? undefined : boundedTokens(size.outputTokensMax);
  const unbounded = hasOutput ? boundedTokens(size.outputTokensExpected ?? policy.outputTokensDefault) : 0;
  const isOwn = size.outputTokensExpected !== undefined && size.isOutputBorrowed !== true;
  const guess = guessedOutput(compiled, unbounded, isOwn, inputTokens, price);
  const subjects: SubjectCharges[] = [];
  const rules: LimitRule[] = [];
  let next = 0;
  for (let i = 0; i < keys.length; i++) {
    const charges: Charge[] = [];
    for (let left = counts[i]; left > 0; left--) {
      const rule = compiled[next++];
      charges.push(chargeOf(rule, inputTokens, guess, own, nowMs, price));
      rules.push(rule.rule);
    }
    subjects.push({ key: keys[i], charges });
  }
  const outputTokensHeld = own === undefined || guess < own ? guess : own;
  return {
    subjects,
    isShared,
    rules,
    inputTokens,
    outputTokensHeld,
    outputTokensMax: own,
    price,
    priceOf,
    compiled,
  };
}

/** What models cost at one moment. */
function pricesAt(policy: CompiledPolicy, account: string | undefined, nowMs: number) {
  return (model: string): ModelPrice | undefined => {
    const quote = policy.prices.quote(account, modelName(model), nowMs);
    return quote.kind === "unknown" ? undefined : quote.price;
  };
}

/** Of the model that has answered, where the provider says that it is another one; in the tier that it was served in, as the provider says, else the one that was asked for. */
function settledPrice(
  { price, priceOf }: CallCharges,
  { model, serviceTier }: Usage,
): ModelPrice | undefined {
  if (price === undefined) return undefined;
  const served = (model === undefined ? undefined : priceOf?.(model)) ?? price;
  return serviceTier === undefined ? served : inServiceTier(served, serviceTier);
}

/** What the call costs, in nano-USD; undefined where no limit counts money, so that nobody has asked for a price. */
export function costOfCall(charges: CallCharges, usage: Usage): number | undefined {
  const price = settledPrice(charges, usage);
  if (price === undefined) return undefined;
  let cost = costOf(price, usage);
  for (const part of usage.apart ?? []) {
    cost += costOf(settledPrice(charges, part) ?? price, part, 0);
  }
  return Math.min(COST_NANO_USD_MAX, cost);
}

/**
 * What a call really used, in the shape of its charges, for `LimitStore.settle`; money at the price of its admission. Without a usage (an error
 * answer) the request itself still counts, and costs nothing; a call that was never sent is released instead.
 */
export function actualsFor(
  charges: CallCharges,
  usage: Usage | undefined,
): readonly { readonly key: string; readonly charges: readonly Settlement[] }[] {
  const counts = tokensUsed(usage);
  const cost = usage === undefined ? undefined : costOfCall(charges, usage);
  let next = 0;
  return charges.subjects.map(({ key, charges: held }) => ({
    key,
    charges: held.map(({ spec }) => {
      const compiled = charges.compiled[next++];
      const actual =
        compiled.rule.meter === "cost" ? (cost ?? 0) : amountOf(compiled, counts, counts, undefined);
      return { spec, actual };
    }),
  }));
}
