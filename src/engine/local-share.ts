import type { SubjectCharges } from "../core/limits/combine.ts";
import type { LimitSpec } from "../core/limits/limit-spec.ts";

/** Only the charges that `isSelected` (in the order of all charges) says; subjects without any are left out. */
export function selectCharges<T>(
  subjects: readonly { readonly key: string; readonly charges: readonly T[] }[],
  isSelected: readonly boolean[],
): { readonly key: string; readonly charges: readonly T[] }[] {
  let next = 0;
  return subjects
    .map(({ key, charges }) => ({ key, charges: charges.filter(() => isSelected[next++]) }))
    .filter(({ charges }) => charges.length > 0);
}

/** The even share of a limit that one of `gateways` may give away on its own. */
export function evenShare(spec: LimitSpec, gateways: number): LimitSpec {
  const share = (amount: number) => Math.max(1, Math.floor(amount / gateways));
  const capacity = share(spec.capacity);
  return spec.algorithm === "token_bucket"
    ? { ...spec, capacity, refill: share(spec.refill) }
    : { ...spec, capacity };
}

/** The same charges against even shares. What asks for more than a share asks for all of it instead: it fits the limit, so it must not be refused as too large for ever. */
export function onShares(subjects: readonly SubjectCharges[], gateways: number): SubjectCharges[] {
  return subjects.map(({ key, charges }) => ({
    key,
    charges: charges.map(({ spec, hold, need }) => {
      const local = evenShare(spec, gateways);
      if (need > spec.capacity) return { spec: local, hold, need };
      return { spec: local, hold: Math.min(hold, local.capacity), need: Math.min(need, local.capacity) };
    }),
  }));
}
