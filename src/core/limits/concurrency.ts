import type { ConcurrencySpec, LimitReading } from "./limit-spec.ts";
import { ensureEntry, entryLength, growEntry, type SubjectState, shrinkEntry } from "./subject-state.ts";

/*
 * Open reservations, counted per gateway, so that what a dead gateway held can be told from what the living hold and a lease is renewed once
 * per gateway, not once per call (L9).
 *
 * Entry: (instance, count)*.
 */
const SLOT = 2;

/** Whether the gateway with this instance number still has its lease. */
export type IsAlive = (instance: number) => boolean;

function countOpen(state: SubjectState, entry: number, isAlive: IsAlive): number {
  const end = entry + entryLength(state, entry);
  let open = 0;
  for (let slot = entry; slot < end; slot += SLOT) if (isAlive(state[slot])) open += state[slot + 1];
  return open;
}

/** Whether `need` more may be open now. There is no wait to tell: it ends when a call does. */
export function concurrencyFits(
  state: SubjectState,
  entry: number,
  spec: ConcurrencySpec,
  need: number,
  isAlive: IsAlive,
): boolean {
  return countOpen(state, entry, isAlive) + need <= spec.capacity;
}

/** Opens `count` (negative: closes) in the name of `instance`. An instance that was given up in the meantime has nothing to close. */
export function chargeConcurrency(
  state: SubjectState,
  spec: ConcurrencySpec,
  instance: number,
  count: number,
  isAlive: IsAlive,
): void {
  const entry = ensureEntry(state, spec.id);
  for (let slot = entry + entryLength(state, entry) - SLOT; slot >= entry; slot -= SLOT) {
    if (state[slot] !== instance && !isAlive(state[slot])) shrinkEntry(state, entry, slot, SLOT);
  }
  const length = entryLength(state, entry);
  for (let slot = entry; slot < entry + length; slot += SLOT) {
    if (state[slot] !== instance) continue;
    state[slot + 1] = Math.max(0, state[slot + 1] + count);
    if (state[slot + 1] === 0) shrinkEntry(state, entry, slot, SLOT);
    return;
  }
  if (count <= 0) return;
  growEntry(state, entry, SLOT);
  state[entry + length] = instance;
  state[entry + length + 1] = count;
}

export function readConcurrency(
  state: SubjectState,
  entry: number,
  spec: ConcurrencySpec,
  isAlive: IsAlive,
): LimitReading {
  const held = countOpen(state, entry, isAlive);
  return { used: 0, held, remaining: spec.capacity - held, moreInMs: 0, fullInMs: 0 };
}
