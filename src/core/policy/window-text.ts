import { exactDuration } from "../duration.ts";
import type { Window } from "./policy.ts";

/** A window as the configuration writes it: `1m`, `90s`, `day`; undefined for concurrency, which has none. */
export function windowText(window: Window): string | undefined {
  switch (window.kind) {
    case "rolling":
    case "token_bucket":
      return exactDuration(window.windowMs);
    case "calendar":
      return window.unit;
    case "open":
      return undefined;
  }
}

/** The same, with the time zone where there is one: `day (Europe/Vienna)`. */
export const windowTextInZone = (window: Window): string | undefined =>
  window.kind === "calendar" ? `${windowText(window)} (${window.timezone})` : windowText(window);
