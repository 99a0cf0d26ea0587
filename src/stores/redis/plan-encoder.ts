import { Buffer } from "node:buffer";
import type { LimitSpec } from "../../core/limits/limit-spec.ts";
import {
  encodeNumbers,
  FORCE,
  SETTLE_MODE,
  type WireCharge,
  type WireRequest,
  writeId,
} from "./request-codec.ts";

/** What is the same in all calls that are charged on the same limits. */
interface Plan {
  readonly step: number;
  readonly ttlMs: number;
  readonly isReserve: boolean;
  /** By subject. */
  readonly specs: readonly (readonly LimitSpec[])[];
  readonly charges: number;
  readonly numbers: Buffer;
  readonly hasConcurrency: boolean;
}

/** A number of a plan, then the id. */
const AMOUNTS_AT = 13;
/** Of those that share their first limit, for reserving, settling and releasing: with more in turn, each is encoded anew. */
const PLANS_MAX = 16;

/**
 * Encodes calls for the scripts that run several. What calls have in common is encoded once, and sent and read once for all calls of a batch: it is
 * several times as long as what differs. Specs are known by identity: they must not change.
 */
export class PlanEncoder {
  /** By first limit. */
  readonly #plans = new WeakMap<LimitSpec, Plan[]>();

  /** Throws `RangeError` for a call with thousands of limits. */
  encode(request: WireRequest): {
    readonly plan: Buffer;
    readonly request: Buffer;
    readonly hasConcurrency: boolean;
  } {
    const { numbers, charges, hasConcurrency } = this.#planOf(request);
    return { plan: numbers, request: encodeAmounts(request, charges), hasConcurrency };
  }

  #planOf(request: WireRequest): Plan {
    const first = request.subjects[0]?.charges[0]?.spec;
    // Every step of an extension is another.
    if (first === undefined || request.force !== FORCE.no || request.step > SETTLE_MODE.giveUp) {
      return planOf(request);
    }
    let plans = this.#plans.get(first);
    if (plans === undefined) {
      plans = [];
      this.#plans.set(first, plans);
    }
    for (const plan of plans) if (fits(plan, request)) return plan;
    const plan = planOf(request);
    if (plans.length === PLANS_MAX) plans.shift();
    plans.push(plan);
    return plan;
  }
}

const isReserve = ({ subjects }: WireRequest) => subjects[0]?.charges[0]?.need !== undefined;

function planOf(request: WireRequest): Plan {
  const { step, ttlMs, subjects } = request;
  const specs = subjects.map(({ charges }) => charges.map(({ spec }) => spec));
  const charges = specs.reduce((sum, each) => sum + each.length, 0);
  return { step, ttlMs, isReserve: isReserve(request), specs, charges, ...encodeNumbers(request) };
}

function fits(plan: Plan, request: WireRequest): boolean {
  const { subjects } = request;
  if (plan.step !== request.step || plan.ttlMs !== request.ttlMs) return false;
  if (plan.isReserve !== isReserve(request) || plan.specs.length !== subjects.length) return false;
  for (let i = 0; i < subjects.length; i++) {
    const { charges } = subjects[i];
    const specs = plan.specs[i];
    if (specs.length !== charges.length) return false;
    for (let k = 0; k < specs.length; k++) if (specs[k] !== charges[k].spec) return false;
  }
  return true;
}

const amountOf = ({ hold, actual }: WireCharge) => hold ?? actual ?? 0;

function encodeAmounts({ id, subjects }: WireRequest, charges: number): Buffer {
  let hasNeeds = false;
  for (const subject of subjects) {
    for (const { need, hold } of subject.charges) if (need !== hold) hasNeeds = true;
  }
  const bytes = Buffer.allocUnsafe(AMOUNTS_AT + charges * (hasNeeds ? 16 : 8));
  writeId(bytes, 1, id);
  let at = AMOUNTS_AT;
  for (const subject of subjects) {
    for (const charge of subject.charges) {
      const amount = amountOf(charge);
      bytes.writeDoubleLE(amount, at);
      if (hasNeeds) bytes.writeDoubleLE(charge.need ?? amount, at + charges * 8);
      at += 8;
    }
  }
  return bytes;
}
