import type { RollingWindowSpec } from "../../src/core/limits/limit-spec.ts";
import type { ReservationId, ReserveRequest, SettleRequest } from "../../src/ports/limit-store.ts";

/** Sub-windows of a window, as the product has them. */
const SUB_WINDOWS = 10;
/** Never reached: a refusal is cheaper than a call. */
const CAPACITY = 1_000_000_000_000;

/** What a call holds of each model-token limit until it is settled with what it used. */
const TOKENS_HELD = 900;
const TOKENS_USED = 800;
const RESERVATION_TTL_MS = 60_000;

const rolling = (id: number, windowMs: number): RollingWindowSpec => ({
  id,
  algorithm: "rolling_window",
  capacity: CAPACITY,
  windowMs,
  grainMs: Math.floor(windowMs / SUB_WINDOWS),
  shadow: false,
});

export interface WindowsMs {
  readonly short: number;
  readonly long: number;
}

export const MINUTE_AND_HOUR: WindowsMs = { short: 60_000, long: 3_600_000 };

/** The calls of users who have four rolling limits each: requests and model tokens, per short and per long window. */
export class FourLimits {
  readonly #charges: ReserveRequest["subjects"][number]["charges"];
  readonly #settlements: SettleRequest["subjects"][number]["charges"];

  constructor({ short, long }: WindowsMs) {
    // Ids are 48-bit hashes in the product, so these are as large.
    const specs = [short, long, short, long].map((windowMs, i) => rolling(0x9e37_79b9_7f00 + i, windowMs));
    this.#charges = specs.map((spec, i) => {
      const hold = i < 2 ? 1 : TOKENS_HELD;
      return { spec, hold, need: hold };
    });
    this.#settlements = specs.map((spec, i) => ({ spec, actual: i < 2 ? 1 : TOKENS_USED }));
  }

  reserve(id: ReservationId, key: string): ReserveRequest {
    return { id, subjects: [{ key, charges: this.#charges }], ttlMs: RESERVATION_TTL_MS };
  }

  settle(id: ReservationId, key: string): SettleRequest {
    return { id, subjects: [{ key, charges: this.#settlements }] };
  }
}

/** A user's subject key, as long as the gateway's own for such a user. */
export const subjectOf = (user: number) => `user=user-${user}`;
