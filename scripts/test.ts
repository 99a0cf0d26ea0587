// Runs every test with node's own runner. Arguments are files or flags for the runner, e.g. `npm test -- test/simulation`.
import { spawnSync } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { argv, execPath, exit } from "node:process";

const given = argv.slice(2);
const flags = given.filter((arg) => arg.startsWith("-"));
const places = given.filter((arg) => !arg.startsWith("-"));
const files = (places.length > 0 ? places : ["test"]).flatMap((place) =>
  statSync(place).isDirectory() ? globSync(`${place}/**/*.test.ts`).sort() : [place],
);
if (files.length === 0) {
  console.error(`no test files under ${places.join(", ")}`);
  exit(1);
}
const { status } = spawnSync(
  execPath,
  ["--disable-warning=ExperimentalWarning", "--test", "--test-timeout=120000", ...flags, ...files],
  { stdio: "inherit" },
);
exit(status ?? 1);
