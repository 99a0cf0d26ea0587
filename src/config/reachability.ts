import { compileGlob } from "../core/policy/glob.ts";
import { asList, asMap, asText, type RawMap, type Report } from "./finding.ts";
import { scopesOf } from "./limit-checks.ts";
import type { KeyPath } from "./problem.ts";

/** What an attribute of a kind of caller can be: anything, one of these, or (empty) nothing at all. */
type Possible = "anything" | readonly string[];

/** A kind of caller that the identity section lets in. */
interface CallerKind {
  /** Plans it can have. */
  readonly plan: Possible;
  readonly attributes: Readonly<Record<string, Possible>>;
}

const orNone = (value: unknown): readonly string[] => (typeof value === "string" ? [value] : []);

/** Every kind of caller that can ever come in; empty where the configuration names none, so that nothing can be said. */
export function callerKinds(identity: RawMap): readonly CallerKind[] {
  const headers = identity.trusted_headers === undefined ? undefined : asMap(identity.trusted_headers);
  const fromHeader = (name: string): Possible => (headers?.[name] === undefined ? [] : "anything");
  const kinds: CallerKind[] = asList(identity.keys).map((entry): CallerKind => {
    const key = asMap(entry);
    return {
      plan: key.plan === undefined ? "anything" : orNone(key.plan),
      attributes: {
        user: orNone(key.user),
        key: orNone(key.name ?? key.user),
        team: orNone(key.team),
        feature: key.feature === undefined ? fromHeader("feature") : orNone(key.feature),
      },
    };
  });
  if (headers !== undefined) {
    const attributes = {
      user: "anything",
      key: [],
      team: fromHeader("team"),
      feature: fromHeader("feature"),
    } as const;
    kinds.push({ plan: "anything", attributes });
  }
  const anonymous = asText(identity.anonymous) ?? "reject";
  if (anonymous !== "reject") {
    kinds.push({
      plan: [anonymous],
      attributes: { user: "anything", key: [], team: [], feature: fromHeader("feature") },
    });
  }
  return kinds;
}

const allows = (possible: Possible, glob: string) =>
  possible === "anything" || possible.some((value) => compileGlob(glob)(value));

/** `PROVIDER/ACCOUNT` of every account; `undefined` where the configuration leaves them to the defaults. */
function accountIds(file: RawMap): readonly string[] | undefined {
  if (file.providers === undefined) return undefined;
  return Object.entries(asMap(file.providers)).flatMap(([provider, shape]) => {
    const { accounts } = asMap(shape);
    if (accounts === undefined) return [`${provider}/main`];
    return asList(accounts).map((account) => `${provider}/${asText(asMap(account).name) ?? ""}`);
  });
}

const SOURCES: Readonly<Record<string, string>> = {
  team: "keys with a team, or identity.trusted_headers.team",
  feature: "keys with a feature, or identity.trusted_headers.feature",
  key: "keys in identity.keys",
  user: "users in identity.keys, identity.trusted_headers or a plan for anonymous callers",
};

/** Reports a limit of a plan (or, with `plan` undefined, a shared one) that no call can ever meet. */
export function checkReachable(
  limit: RawMap,
  plan: string | undefined,
  file: RawMap,
  path: KeyPath,
  report: Report,
): void {
  const match = asMap(limit.match);
  const accounts = accountIds(file);
  const account = asText(match.account);
  if (account !== undefined && accounts !== undefined && !accounts.some(compileGlob(account))) {
    const message = `never matches: accounts are written PROVIDER/ACCOUNT; there are: ${accounts.join(", ")}`;
    report({ path: [...path, "match", "account"], shows: "value", message });
  }
  const all = callerKinds(asMap(file.identity));
  const kinds = all.filter(
    (kind) => plan === undefined || kind.plan === "anything" || kind.plan.includes(plan),
  );
  // A plan that nobody has is a warning of its own.
  if (kinds.length === 0) return;
  const whose = plan === undefined ? "" : ` of plan ${plan}`;
  const conditions: {
    readonly path: KeyPath;
    readonly attribute: string;
    readonly glob: string | undefined;
  }[] = [];
  for (const attribute of Object.keys(SOURCES)) {
    const glob = asText(match[attribute]);
    if (glob !== undefined) conditions.push({ path: [...path, "match", attribute], attribute, glob });
    // Callers without a key count as users there.
    else if (attribute !== "key" && scopesOf(limit, "shared").includes(attribute)) {
      conditions.push({ path: [...path, "scope"], attribute, glob: undefined });
    }
  }
  const isMet = (kind: CallerKind, { attribute, glob }: { attribute: string; glob: string | undefined }) => {
    const possible = kind.attributes[attribute];
    return glob === undefined ? possible.length > 0 : allows(possible, glob);
  };
  const impossible = conditions.filter((condition) => !kinds.some((kind) => isMet(kind, condition)));
  for (const { path: at, attribute, glob } of impossible) {
    const message = `never matches: no caller${whose} has ${glob === undefined ? `a ${attribute}` : `such a ${attribute}`}; it takes ${SOURCES[attribute]}`;
    report({ path: at, ...(glob === undefined ? {} : { shows: "value" }), message });
  }
  if (impossible.length === 0 && !kinds.some((kind) => conditions.every((one) => isMet(kind, one)))) {
    report({ path, message: `never matches: no caller${whose} has all that it asks for at once` });
  }
}
