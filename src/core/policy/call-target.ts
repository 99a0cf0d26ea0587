import type { Endpoint } from "./endpoint.ts";

/** Where a call goes. */
export interface CallTarget {
  readonly endpoint: Endpoint;
  /** Empty where the call names none. */
  readonly model: string;
  /** `PROVIDER/ACCOUNT`; absent while it is not chosen: then no account's limits apply. */
  readonly account?: string | undefined;
}
