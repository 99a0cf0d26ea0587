import { DEMO_KEYS, DEMO_PROVIDERS } from "../config/demo-settings.ts";
import { runReplayProvider } from "../replay-provider/run-replay-provider.ts";
import { type ServeOptions, serve } from "./serve.ts";

/** Where calls go: nobody should find out from a bill. */
function destinations(environment: NodeJS.ProcessEnv): string {
  const all = Object.entries(DEMO_PROVIDERS);
  const paid = all.filter(([, key]) => environment[key]);
  if (paid.length === 0) return "in front of a bundled provider that answers from recordings";
  const places = all.map(([name, key]) =>
    environment[key] ? `the real ${name} (${key} is set, calls cost money)` : `recordings of ${name}`,
  );
  return `in front of ${places.join(" and ")}`;
}

function demonstration(url: string): string {
  const call = (key: string) =>
    `curl ${url}/v1/chat/completions -H "authorization: Bearer ${key}" -H "content-type: application/json" \\
    -d '{"model": "gpt-4o-mini", "max_tokens": 20, "messages": [{"role": "user", "content": "hello"}]}'`;
  return `
Sluice listens on ${url}, ${destinations(process.env)}.
Two users: alice (plan free: 10 requests a minute, 100 an hour, 1,000 tokens a minute) and bob (premium: 10,000 tokens a minute).

A call of alice's:
  ${call(DEMO_KEYS.free)}

How her limits stand:
  curl ${url}/sluice/v1/limits -H "authorization: Bearer ${DEMO_KEYS.free}"

Her eleventh call in a minute is refused, and bob's is not:
  for i in $(seq 11); do curl -s -o /dev/null -w "%{http_code}\\n" ${url}/v1/models -H "authorization: Bearer ${DEMO_KEYS.free}"; done
  ${call(DEMO_KEYS.premium)}

Your own configuration: npm start -- --config sluice.yaml (the README has one to begin with). Ctrl-C ends this.
`;
}

/** What `npm start` runs: the given configuration, or a demonstration that needs nothing. */
export async function start(options: ServeOptions): Promise<void> {
  if (options.config !== undefined) return serve(options);
  const isPaid = Object.values(DEMO_PROVIDERS).every((key) => process.env[key]);
  const provider = isPaid ? undefined : await runReplayProvider();
  await serve({
    ...options,
    replayUrl: provider?.url,
    onReady: (url) => process.stdout.write(demonstration(url)),
    onClosed: async () => provider?.close(),
  });
}
