import { complain } from "./say.ts";

/** What scripts can go by. */
export const EXIT_CODE = {
  ok: 0,
  /** It was tried and failed: the port is taken, the store cannot be opened. */
  failed: 1,
  /** The configuration or the arguments are wrong: trying again changes nothing. */
  invalid: 2,
} as const;

/** An error for people: one sentence or several, no stack. */
export function fail(message: string, code: number = EXIT_CODE.failed): never {
  complain(`${message}\n`);
  process.exit(code);
}
