import { asList, asMap, type RawMap, type Report } from "./finding.ts";

/**
 * Warns of what a file asks for and this version does not do yet, so that nobody relies on it. What is not mentioned in the file is not
 * mentioned here. A part that gets built loses its lines.
 */
export function warnOfNotBuilt(file: RawMap, report: Report): void {
  for (const [plan, shape] of Object.entries(asMap(file.plans))) {
    const { when_limited } = asMap(shape);
    if (when_limited !== "defer") continue;
    const message = "defer is not built yet: a call over a limit waits, and is refused at the end";
    report({ path: ["plans", plan, "when_limited"], message });
  }
  for (const [provider, shape] of Object.entries(asMap(file.providers))) {
    if (asList(asMap(shape).accounts).length < 2) continue;
    const message = "using several accounts is not built yet: only the first one is called";
    report({ path: ["providers", provider, "accounts", 1], message });
  }
  if (file.jobs !== undefined) report({ path: ["jobs"], message: "jobs are not built yet" });
  if (file.admin !== undefined && file.admin !== "off") {
    report({
      path: ["admin"],
      message: "the dashboard and the admin API are not built yet: nothing listens there",
    });
  }
}
