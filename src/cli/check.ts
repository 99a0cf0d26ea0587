import { loadSettings } from "../config/load-settings.ts";
import { ConfigurationError, formatProblem } from "../config/problem.ts";
import type { Settings } from "../config/settings.ts";
import type { LimitRule } from "../core/policy/policy.ts";
import { EXIT_CODE } from "./exit-code.ts";
import { explainRule } from "./explain-rule.ts";

function storeInWords({ store }: Settings): string {
  switch (store.kind) {
    case "memory":
      return "in memory: gone with the process";
    case "embedded":
      return `embedded in ${store.directory}`;
    case "redis":
    case "redis_cluster":
      return store.shown;
  }
}

const list = (rules: readonly LimitRule[]) =>
  rules.length === 0 ? "  no limits\n" : rules.map((rule) => `  - ${explainRule(rule)}\n`).join("");

function explain(settings: Settings): string {
  const { listen, policy, identity } = settings;
  let text = `${settings.origin} is valid.\n\nlistens on  ${listen.host}:${listen.port}\ncounters    ${storeInWords(settings)}\n`;
  for (const { name, format, baseUrl, accounts } of settings.providers.values()) {
    text += `provider    ${name}: ${baseUrl} (${format}), account ${accounts.map((account) => account.name).join(", ")}\n`;
  }
  text += `callers     ${identity.keys.size} keys${identity.trustedHeaders === undefined ? "" : `, or the header ${identity.trustedHeaders.user} from trusted addresses`}; without a key: ${identity.anonymousPlan === undefined ? "refused" : `plan ${identity.anonymousPlan}, per address`}\n`;
  for (const plan of policy.plans.values()) {
    text += `\nplan ${plan.name}: over the limit, a call is refused\n${list(plan.limits)}`;
  }
  if (policy.limits.length > 0) text += `\nfor everyone\n${list(policy.limits)}`;
  for (const [account, rules] of policy.accountLimits) {
    if (rules.length > 0) text += `\naccount ${account}\n${list(rules)}`;
  }
  return text;
}

/** Says what a configuration means, or everything that is wrong with it. Returns the exit code. */
export async function check(file: string, asJson: boolean): Promise<number> {
  try {
    const settings = await loadSettings({ file, environment: process.env });
    if (asJson) process.stdout.write(`${JSON.stringify({ valid: true, warnings: settings.warnings })}\n`);
    else {
      process.stdout.write(explain(settings));
      for (const warning of settings.warnings) process.stdout.write(`\nwarning: ${formatProblem(warning)}\n`);
    }
    return EXIT_CODE.ok;
  } catch (error) {
    if (!(error instanceof ConfigurationError)) throw error;
    if (asJson) process.stdout.write(`${JSON.stringify({ valid: false, problems: error.problems })}\n`);
    else process.stderr.write(`${error.message}\n`);
    return EXIT_CODE.invalid;
  }
}
