/** When something is in force. */
export interface Dated {
  /** Epoch milliseconds; `-Infinity` for what was always so. */
  readonly fromMs: number;
  /** Only between these times of the day in UTC, in milliseconds since midnight: from the first to just before the second, over midnight where that is smaller. */
  readonly daily?: { readonly startMs: number; readonly endMs: number } | undefined;
}

const DAY_MS = 86_400_000;

function isInForce({ fromMs, daily }: Dated, nowMs: number): boolean {
  if (nowMs < fromMs) return false;
  if (daily === undefined) return true;
  const timeMs = ((nowMs % DAY_MS) + DAY_MS) % DAY_MS;
  return daily.startMs <= daily.endMs
    ? timeMs >= daily.startMs && timeMs < daily.endMs
    : timeMs >= daily.startMs || timeMs < daily.endMs;
}

/** The last entry that is in force: later ones in the list replace earlier ones, from the moment that they say (E6). */
export function entryAt<T extends Dated>(history: readonly T[], nowMs: number): T | undefined {
  for (let i = history.length - 1; i >= 0; i--) {
    if (isInForce(history[i], nowMs)) return history[i];
  }
  return undefined;
}
