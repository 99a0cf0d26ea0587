import type { Settlement } from "./combine.ts";
import type { LimitSpec } from "./limit-spec.ts";

/** What settles a reservation of which nothing was used. */
export const withoutUse = (
  subjects: readonly { readonly key: string; readonly charges: readonly { readonly spec: LimitSpec }[] }[],
): { readonly key: string; readonly charges: readonly Settlement[] }[] =>
  subjects.map(({ key, charges }) => ({ key, charges: charges.map(({ spec }) => ({ spec, actual: 0 })) }));
