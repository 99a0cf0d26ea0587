/** How often a condition is looked at: often enough that a test loses no time. */
const STEP_MS = 5;

/** Resolves when the condition holds; rejects when it does not within `timeoutMs`. For what a test cannot be told of. */
export async function until(holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(`still not so after ${timeoutMs} ms: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, STEP_MS));
  }
}
