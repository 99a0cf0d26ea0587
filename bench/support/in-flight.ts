/**
 * Runs `step` for 0 … `count` − 1 with `inFlight` of them under way at any time: each lane takes the next as soon as its own is done. Resolves with the
 * seconds it took.
 */
export async function runInFlight(
  count: number,
  inFlight: number,
  step: (index: number) => Promise<unknown>,
): Promise<number> {
  let next = 0;
  const lane = async () => {
    while (next < count) {
      const index = next;
      next += 1;
      await step(index);
    }
  };
  const startedMs = performance.now();
  await Promise.all(Array.from({ length: inFlight }, lane));
  return (performance.now() - startedMs) / 1_000;
}
