import { Buffer } from "node:buffer";
import type { LimitReading, LimitSpec } from "../../core/limits/limit-spec.ts";
import {
  CLOSED_MEMORY_MS,
  type ReservationId,
  type ReserveOutcome,
  type SettleOutcome,
} from "../../ports/limit-store.ts";
import { SLACK_MS } from "./script-times.ts";
import { readStored } from "./stored-counters.ts";

/** What the scripts call the methods that end a reservation. */
export const SETTLE_MODE = { settle: 0, release: 1, giveUp: 2 } as const;

/** Whether an extension is made though it does not fit, or a reservation only looked at though it would. */
export const FORCE = { no: 0, yes: 1, lookOnly: 2 } as const;

/** Beyond this a call has more limits than anybody means; the scripts would take longer than others should wait. */
const NUMBERS_MAX = 16_384;

const HEADER = 6;
const CHARGE = 7;
const ALGORITHM = { rolling_window: 1, token_bucket: 2, calendar_window: 3, concurrency: 4 } as const;
/** In the sum of algorithms that occur; rolling windows always may. */
const ALGORITHM_BIT = { rolling_window: 0, token_bucket: 1, calendar_window: 2, concurrency: 4 } as const;
/** Two 48-bit numbers. */
const ID_BYTES = 12;

/** One charge, settlement or look at a limit, as the scripts see all three. */
export interface WireCharge {
  readonly spec: LimitSpec;
  readonly need?: number;
  readonly actual?: number;
  readonly hold?: number;
}

export interface WireRequest {
  readonly id: ReservationId;
  /** Of an extension, or a `SETTLE_MODE`. */
  readonly step: number;
  readonly force: (typeof FORCE)[keyof typeof FORCE];
  readonly ttlMs: number;
  readonly subjects: readonly { readonly charges: readonly WireCharge[] }[];
}

/** A call as a script takes it that takes one. */
export interface EncodedCall {
  readonly keys: readonly string[];
  readonly request: Buffer;
}

/** A call as a script takes it that takes several, which share their plans. */
export interface BatchedCall {
  readonly keys: readonly string[];
  readonly plan: Buffer;
  /** Its first byte is for the number of the plan. */
  readonly request: Buffer;
}

export interface EncodedRequest {
  readonly request: Buffer;
  /** Whether the leases of gateways are needed. */
  readonly hasConcurrency: boolean;
}

/** Requests are put together here and copied out: writing into a typed array is several times as fast as into a buffer. */
const scratch = new Float64Array(NUMBERS_MAX);
const scratchBytes = new Uint8Array(scratch.buffer);

/** The layout is described in `subject-state.lua`. Throws `RangeError` for a call with thousands of limits. */
export function encodeRequest(request: WireRequest): EncodedRequest {
  const { length, hasConcurrency } = writeNumbers(request);
  const bytes = Buffer.allocUnsafe(ID_BYTES + length * 8);
  writeId(bytes, 0, request.id);
  bytes.set(scratchBytes.subarray(0, length * 8), ID_BYTES);
  return { request: bytes, hasConcurrency };
}

export function writeId(bytes: Buffer, at: number, { instance, sequence }: ReservationId): void {
  bytes.writeUIntLE(instance, at, 6);
  bytes.writeUIntLE(sequence, at + 6, 6);
}

/** The numbers of a call alone. Throws `RangeError` for a call with thousands of limits. */
export function encodeNumbers(request: WireRequest): {
  readonly numbers: Buffer;
  readonly hasConcurrency: boolean;
} {
  const { length, hasConcurrency } = writeNumbers(request);
  return { numbers: Buffer.from(scratchBytes.subarray(0, length * 8)), hasConcurrency };
}

/** Fills `scratch`. */
function writeNumbers(request: WireRequest): { readonly length: number; readonly hasConcurrency: boolean } {
  const { subjects } = request;
  let charges = 0;
  for (const subject of subjects) charges += subject.charges.length;
  let at = HEADER + subjects.length;
  let tail = at + charges * CHARGE;
  if (tail > NUMBERS_MAX) throw new RangeError(`a call with ${charges} limits`);
  let keepMs = request.ttlMs + CLOSED_MEMORY_MS;
  let algorithms = 0;
  for (let i = 0; i < subjects.length; i++) {
    const subject = subjects[i];
    scratch[HEADER + i] = subject.charges.length;
    for (const charge of subject.charges) {
      const { spec } = charge;
      scratch[at] =
        spec.shadow && charge.need !== undefined ? -ALGORITHM[spec.algorithm] : ALGORITHM[spec.algorithm];
      scratch[at + 1] = spec.id;
      scratch[at + 2] = spec.capacity;
      algorithms |= ALGORITHM_BIT[spec.algorithm];
      tail = writeWindow(spec, at, tail);
      if (spec.algorithm === "rolling_window" || spec.algorithm === "token_bucket") {
        if (spec.windowMs > keepMs) keepMs = spec.windowMs;
      }
      scratch[at + 5] = charge.need ?? charge.actual ?? 0;
      scratch[at + 6] = charge.hold ?? 0;
      at += CHARGE;
    }
  }
  scratch[0] = request.step;
  scratch[1] = request.force;
  scratch[2] = request.ttlMs;
  scratch[3] = keepMs + SLACK_MS;
  scratch[4] = subjects.length;
  scratch[5] = algorithms;
  return { length: tail, hasConcurrency: (algorithms & ALGORITHM_BIT.concurrency) !== 0 };
}

/** Writes what the algorithm needs of its window; calendar boundaries go to `tail`. Returns the new tail. */
function writeWindow(spec: LimitSpec, at: number, tail: number): number {
  switch (spec.algorithm) {
    case "rolling_window":
      scratch[at + 3] = spec.windowMs;
      scratch[at + 4] = spec.grainMs;
      return tail;
    case "token_bucket":
      scratch[at + 3] = spec.windowMs;
      scratch[at + 4] = spec.refill;
      return tail;
    case "calendar_window":
      if (tail + spec.boundariesMs.length > NUMBERS_MAX)
        throw new RangeError("a call with thousands of limits");
      // Lua counts from 1.
      scratch[at + 3] = tail + 1;
      scratch[at + 4] = spec.boundariesMs.length;
      for (const boundaryMs of spec.boundariesMs) scratch[tail++] = boundaryMs;
      return tail;
    case "concurrency":
      scratch[at + 3] = 0;
      scratch[at + 4] = 0;
      return tail;
  }
}

const READING = 4;

function decodeReadings(numbers: Float64Array, from: number, specs: readonly LimitSpec[]): LimitReading[] {
  const readings: LimitReading[] = [];
  let at = from;
  for (const { capacity } of specs) {
    const used = numbers[at];
    const held = numbers[at + 1];
    const remaining = capacity - used - held;
    readings.push({ used, held, remaining, moreInMs: numbers[at + 2], fullInMs: numbers[at + 3] });
    at += READING;
  }
  return readings;
}

const NONE: readonly number[] = [];

function toNumbers(reply: Buffer): Float64Array {
  const numbers = new Float64Array(reply.length / 8);
  new Uint8Array(numbers.buffer).set(reply);
  return numbers;
}

export function decodeReply(reply: Buffer, specs: readonly LimitSpec[]): ReserveOutcome {
  // A reply in doubles begins with the lowest byte of a small one, which is 0.
  if (reply[0] !== 0) return { kind: "admitted", overShadow: NONE, readings: readStored(reply, specs) };
  const numbers = toNumbers(reply);
  const readings = decodeReadings(numbers, 3, specs);
  switch (numbers[0]) {
    case 0:
      return { kind: "admitted", overShadow: [...numbers.subarray(3 + READING * specs.length)], readings };
    case 1:
      return { kind: "refused", waitMs: numbers[1], limiting: numbers[2], readings };
    case 2:
      return { kind: "never_fits", limiting: numbers[2], readings };
    case 3:
      return { kind: "closed", readings };
    default:
      throw new TypeError(`a script answered with verdict ${numbers[0]}`);
  }
}

export function decodeReadReply(reply: Buffer, specs: readonly LimitSpec[]): LimitReading[] {
  return decodeReadings(toNumbers(reply), 0, specs);
}

const SETTLE_OUTCOMES: readonly SettleOutcome[] = ["settled", "already", "unknown"];

export function decodeSettleReply(reply: unknown): SettleOutcome {
  const outcome = SETTLE_OUTCOMES[Number(reply)];
  if (outcome === undefined) throw new TypeError(`a script answered ${String(reply)}`);
  return outcome;
}
