import type { Environment } from "./yaml-source.ts";

/** Client keys of the demonstration: no secrets. */
export const DEMO_KEYS = { free: "sluice-free", premium: "sluice-premium" } as const;

/** Where the demonstration keeps what it counts and learns: it must not become a real configuration's, which would find its users and invented answers there. */
export const DEMO_DIRECTORY = "./.sluice/demo";

/** The providers of the demonstration, and where the environment has their keys. */
export const DEMO_PROVIDERS = { openai: "OPENAI_API_KEY", anthropic: "ANTHROPIC_API_KEY" } as const;

/** A base URL as YAML: only where the real provider cannot be used. */
const provider = (key: string, environment: Environment, replayUrl: string | undefined): string => {
  if (environment[key]) return `accounts: [{ name: main, key: "\${${key}}" }]`;
  return replayUrl === undefined
    ? "{}"
    : `{ base_url: "${replayUrl}", accounts: [{ name: replay, key: replay }] }`;
};

const block = (text: string) => (text.startsWith("{") ? ` ${text}` : `\n    ${text}`);

/**
 * The file that stands in where there is none: two plans and a key for each. A provider whose key the environment lacks is the replay
 * provider at `replayUrl`.
 */
export function demoFile(environment: Environment, replayUrl: string | undefined): string {
  return `# What Sluice does without a configuration file.
providers:
  openai:${block(provider(DEMO_PROVIDERS.openai, environment, replayUrl))}
  anthropic:${block(provider(DEMO_PROVIDERS.anthropic, environment, replayUrl))}
plans:
  free:
    when_limited: reject
    limits:
      - { meter: requests, limit: 10, per: 1m }
      - { meter: requests, limit: 100, per: 1h }
      - { meter: tokens, limit: 1000, per: 1m }
  premium:
    priority: high
    weight: 4
    limits:
      - { meter: tokens, limit: 10000, per: 1m }
identity:
  keys:
    - { key: ${DEMO_KEYS.free}, user: alice, plan: free }
    - { key: ${DEMO_KEYS.premium}, user: bob, plan: premium }
`;
}
