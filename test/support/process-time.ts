import type { TestContext } from "node:test";

/** All clocks and timers of the process on one time, which moves as the test says. */
export function holdTime(t: TestContext): { readonly advance: (ms: number) => Promise<void> } {
  t.mock.timers.enable({ apis: ["setTimeout", "setInterval", "Date"], now: Date.UTC(2026, 0, 15, 12) });
  t.mock.method(performance, "now", () => Date.now());
  return {
    /** Lets promises that a timer has settled be heard before the next millisecond. */
    async advance(ms) {
      for (let passed = 0; passed < ms; passed++) {
        t.mock.timers.tick(1);
        for (let i = 0; i < 5; i++) await undefined;
      }
    },
  };
}
