import type { Endpoint } from "./endpoint.ts";

/** Where a call goes. */
export interface CallTarget {
  readonly endpoint: Endpoint;
  /** Empty where the call names none. */
  readonly model: string;
  /** `PROVIDER/ACCOUNT`; absent while it is not chosen: then no account's limits apply. */
  readonly account?: string | undefined;
}

/**
 * A model as limits and prices know it: hosts differ in whether capitals and blanks around a name matter, and who could write it in another way than the file
 * would have other limits.
 */
export const modelName = (asked: string): string => asked.trim().toLowerCase();
