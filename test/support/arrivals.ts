import { randomOf } from "./random.ts";
import type { Server, SimulatedCall } from "./service-simulation.ts";

export const SECOND_MS = 1_000;

/** Calls of one user at a steady rate with some scatter, each of about `size`. */
export function steady(
  user: string,
  {
    perSecond,
    size,
    fromMs = 0,
    untilMs,
  }: {
    readonly perSecond: number;
    readonly size: number;
    readonly fromMs?: number;
    readonly untilMs: number;
  },
  random: () => number,
  part: Partial<SimulatedCall> = {},
): SimulatedCall[] {
  const calls: SimulatedCall[] = [];
  for (let atMs = fromMs; atMs < untilMs; atMs += (SECOND_MS / perSecond) * (0.5 + random())) {
    const actual = Math.max(1, Math.round(size * (0.5 + random())));
    calls.push({ user, atMs, expected: size, actual, ...part });
  }
  return calls;
}

export const inOrder = (calls: readonly SimulatedCall[]) => [...calls].sort((a, b) => a.atMs - b.atMs);

/** Somebody who would like more than their share, and the others. */
export interface Adversary {
  readonly name: string;
  readonly calls: readonly SimulatedCall[];
  readonly server: Server;
  /** Over which differences are looked at. */
  readonly windowMs: number;
}

const SERVER: Server = { places: 16, speed: 10_000 };
const UNTIL_MS = 120 * SECOND_MS;
const WINDOW_MS = 10 * SECOND_MS;

/** Each of them alone would fill the server. */
export function adversaries(): readonly Adversary[] {
  const random = randomOf(21);
  const honest = ["a", "b", "c"].flatMap((user) =>
    steady(user, { perSecond: 20, size: 500, untilMs: UNTIL_MS }, random),
  );
  const scenario = (name: string, others: readonly SimulatedCall[]): Adversary => ({
    name,
    calls: inOrder([...honest, ...others]),
    server: SERVER,
    windowMs: WINDOW_MS,
  });
  const on = Array.from({ length: 6 }, (_, i) => i * 20 * SECOND_MS);
  return [
    scenario(
      "comes fifteen times as often",
      steady("m", { perSecond: 300, size: 500, untilMs: UNTIL_MS }, random),
    ),
    scenario(
      "sends calls twenty times as large",
      steady("m", { perSecond: 20, size: 10_000, untilMs: UNTIL_MS }, random),
    ),
    scenario(
      "sends calls a tenth as large, fifteen times as often",
      steady("m", { perSecond: 300, size: 50, untilMs: UNTIL_MS }, random),
    ),
    scenario(
      "gets answers twenty times as long as expected",
      steady("m", { perSecond: 20, size: 10_000, untilMs: UNTIL_MS }, random, { expected: 500 }),
    ),
    scenario(
      "comes back after a minute",
      steady("m", { perSecond: 20, size: 500, fromMs: 60 * SECOND_MS, untilMs: UNTIL_MS }, random),
    ),
    scenario(
      "comes and goes every ten seconds",
      on.flatMap((fromMs) =>
        steady("m", { perSecond: 40, size: 500, fromMs, untilMs: fromMs + 10 * SECOND_MS }, random),
      ),
    ),
  ];
}

/** One who floods with documents, and twenty who chat inside their fair share. */
export interface Flood {
  readonly calls: readonly SimulatedCall[];
  readonly server: Server;
  readonly light: readonly string[];
  /** How long the largest document takes. */
  readonly serviceMs: number;
}

export function flood(): Flood {
  const random = randomOf(14);
  const untilMs = 120 * SECOND_MS;
  const light = Array.from({ length: 20 }, (_, i) => `light${i}`);
  const documents = steady("flood", { perSecond: 50, size: 50_000, untilMs }, random);
  const chats = light.flatMap((user) => steady(user, { perSecond: 2, size: 200, untilMs }, random));
  const server = { places: 16, speed: 100_000 };
  const largest = Math.max(...documents.map(({ actual }) => actual));
  return {
    calls: inOrder([...documents, ...chats]),
    server,
    light,
    serviceMs: (largest / (server.speed / server.places)) * SECOND_MS,
  };
}
