/** A duration as OpenAI writes it: `84ms`, `1.146s`, `6m0s`, `1h2m3.5s`; rounded up to milliseconds. */
export function formatDuration(durationMs: number): string {
  const ms = Math.ceil(durationMs);
  if (ms < 1000) return ms === 0 ? "0s" : `${ms}ms`;
  const hours = Math.floor(ms / 3_600_000);
  const minutes = Math.floor(ms / 60_000) % 60;
  const seconds = (ms % 60_000) / 1000;
  if (hours > 0) return `${hours}h${minutes}m${seconds}s`;
  return minutes > 0 ? `${minutes}m${seconds}s` : `${seconds}s`;
}

/** A point in time as Anthropic writes it: RFC 3339 in whole seconds, rounded up. */
export function formatTime(epochMs: number): string {
  return new Date(Math.ceil(epochMs / 1000) * 1000).toISOString().replace(".000Z", "Z");
}
