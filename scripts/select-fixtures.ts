// Chooses the few recordings that are part of the project from the full collection beside it: for tests (test/fixtures), and for the replay
// provider that runs without a configuration (src/replay-provider/recordings.jsonl). Run it again only when the choice should change:
//   node scripts/select-fixtures.ts
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const DATA = new URL("../../shared/data/", import.meta.url);
const FIXTURES = new URL("../test/fixtures/exchanges.jsonl", import.meta.url);
const FIXTURES_README = new URL("../test/fixtures/README.md", import.meta.url);
const BUNDLED = new URL("../src/replay-provider/recordings.jsonl", import.meta.url);

/** Both travel with every clone, the second with every installation. */
const FIXTURES_BYTES_MAX = 400_000;
const BUNDLED_BYTES_MAX = 150_000;
/** Hosts that only speak a provider's format are for the odd cases. */
const COMPATIBLE_BYTES_MAX = 100_000;
/** A larger row says little more than a small one: the only streams of threads are just below it. */
const ROW_BYTES_MAX = 33_000;
const BUNDLED_ROW_BYTES_MAX = 10_000;
/** A second and third example of something should not cost the place of the first of something else. */
const MORE_ROW_BYTES_MAX = 9_000;
/** What their licences allow to be passed on, with the source named. */
const LICENSES = /^(MIT|Apache-2\.0|BSD-[23]-Clause)$/;

interface Row extends Readonly<Record<string, unknown>> {
  readonly id: string;
  readonly source_repo: string;
  readonly path: string;
  readonly license: string;
  readonly provider: string;
  readonly api: string;
  readonly status: number;
  readonly stream: boolean;
  readonly flags: Readonly<Record<string, boolean>>;
  readonly ratelimit_headers: readonly string[];
  readonly request_body: unknown;
  readonly request_headers: Readonly<Record<string, string>>;
  readonly response_headers: Readonly<Record<string, string>>;
}

interface Candidate {
  readonly row: Row;
  readonly line: string;
  readonly bytes: number;
}

function readRows(file: string): readonly Candidate[] {
  return readFileSync(new URL(file, DATA), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const { request_headers: _, ...row } = JSON.parse(line) as Row;
      const kept = JSON.stringify(row);
      return { row: row as Row, line: `${kept}\n`, bytes: Buffer.byteLength(kept) + 1 };
    })
    .filter(({ row, bytes }) => LICENSES.test(row.license) && bytes <= ROW_BYTES_MAX)
    .sort((a, b) => a.bytes - b.bytes || (a.row.id < b.row.id ? -1 : 1));
}

/** What a row is an example of; each group gets some rows. */
function groupsOf({ row }: Candidate): readonly string[] {
  if (row.status >= 400) return [`error ${row.provider} ${row.status}`];
  const flavour = `${row.provider} ${row.stream ? "stream" : "json"}`;
  const flags = Object.entries(row.flags ?? {}).filter(([, isSet]) => isSet);
  return [
    `api ${row.api} ${flavour}`,
    ...flags.map(([flag]) => `${flag} ${flavour}`),
    ...(row.ratelimit_headers?.length > 0 ? [`rate limit headers ${flavour}`] : []),
    ...(row.stream && row.usage == null ? [`stream without usage ${row.provider}`] : []),
  ];
}

/** Takes rows in turns: of each group the smallest, then of each a second from further up, until the budget is used. */
function choose(candidates: readonly Candidate[], bytesMax: number, each: number): readonly Candidate[] {
  const groups = new Map<string, Candidate[]>();
  for (const candidate of candidates)
    for (const name of groupsOf(candidate)) {
      const group = groups.get(name);
      if (group === undefined) groups.set(name, [candidate]);
      else group.push(candidate);
    }
  // Errors are small and rare: they must not be left out because the budget is used.
  const names = [...groups.keys()]
    .sort()
    .sort((a, b) => Number(b.startsWith("error")) - Number(a.startsWith("error")));
  const chosen = new Set<Candidate>();
  let bytes = 0;
  for (let turn = 0; turn < each; turn++) {
    for (const name of names) {
      const isSmall = ({ bytes }: Candidate) => turn === 0 || bytes <= MORE_ROW_BYTES_MAX;
      const group = groups.get(name)!.filter(isSmall);
      if (group.length === 0) continue;
      // The smallest first, then a third of the way up, and so on: small rows are often alike.
      const candidate = group[Math.floor((turn * group.length) / (each + 1))]!;
      if (chosen.has(candidate) || bytes + candidate.bytes > bytesMax) continue;
      chosen.add(candidate);
      bytes += candidate.bytes;
    }
  }
  return [...chosen];
}

const CALLS = new Set([
  "chat.completions",
  "completions",
  "embeddings",
  "messages",
  "messages.count_tokens",
  "responses",
]);

/** For people who try Sluice out: the plain endpoints, and no headers whose values were blotted out. */
function isForBundle({ row, bytes }: Candidate): boolean {
  const isBlotted = Object.values(row.response_headers).some((value) => /-XXX$|REDACTED/.test(value));
  return (
    bytes <= BUNDLED_ROW_BYTES_MAX &&
    CALLS.has(row.api) &&
    /^(openai|anthropic)$/.test(row.provider) &&
    !isBlotted
  );
}

function save(file: URL, chosen: readonly Candidate[]): void {
  const lines = chosen.map(({ line }) => line).sort();
  writeFileSync(file, lines.join(""));
  console.log(`${fileURLToPath(file)}: ${lines.length} rows, ${lines.join("").length} characters`);
}

function readme(fixtures: readonly Candidate[], bundled: readonly Candidate[]): string {
  const sources = new Map<string, { license: string; rows: number }>();
  for (const { row } of new Set([...fixtures, ...bundled])) {
    const source = sources.get(row.source_repo) ?? { license: row.license, rows: 0 };
    sources.set(row.source_repo, { ...source, rows: source.rows + 1 });
  }
  const table = [...sources]
    .sort(([a], [b]) => (a.toLowerCase() < b.toLowerCase() ? -1 : 1))
    .map(([repo, { license, rows }]) => `| [${repo}](https://github.com/${repo}) | ${license} | ${rows} |`);
  return `# Recorded exchanges

\`exchanges.jsonl\` (${fixtures.length} rows) is for tests; \`src/replay-provider/recordings.jsonl\` (${bundled.length} rows) is what the replay provider
answers from when it is given no data. Both are small selections from a collection of HTTP exchanges with LLM providers that open-source projects
recorded for their own tests. \`scripts/select-fixtures.ts\` made them; nothing but the request headers was taken out of the rows.

Each row names its source: \`source_repo\`, \`path\` in it, \`license\`. Secrets and identities were removed before; values such as
\`CF-RAY-XXX\` are what was left in their place, and large base64 texts are elided.

| source | licence | rows |
|---|---|---|
${table.join("\n")}
`;
}

const rows = readRows("exchanges.jsonl");
const compatible = readRows("exchanges_compat.jsonl");
const fixtures = [
  ...choose(rows, FIXTURES_BYTES_MAX - COMPATIBLE_BYTES_MAX, 4),
  ...choose(compatible, COMPATIBLE_BYTES_MAX, 1),
];
const bundled = choose(rows.filter(isForBundle), BUNDLED_BYTES_MAX, 4);
save(FIXTURES, fixtures);
save(BUNDLED, bundled);
writeFileSync(FIXTURES_README, readme(fixtures, bundled));
