import type { PermitRequest } from "./permit.ts";

/** What the room asks of the limits: synchronous. */
export interface PermitLimits<Outcome> {
  /** Holds everything that the call asks for, or nothing. `waits`: it is in the room already, where nobody reads the outcome of a refusal. */
  reserve(request: PermitRequest, nowMs: number, waits: boolean): Attempt<Outcome>;
  /** As `expectedWait` of core/limits. */
  expectedWait(request: PermitRequest, ahead: readonly number[], serviceMs: number, nowMs: number): number;
}

export type Attempt<Outcome> =
  | { readonly kind: "granted"; readonly outcome: Outcome }
  | { readonly kind: "never_fits"; readonly outcome: Outcome }
  /** `limiting` is the subject in whose way it is longest. */
  | {
      readonly kind: "refused";
      readonly outcome: Outcome;
      readonly waitMs: number;
      readonly limiting: number;
    };
