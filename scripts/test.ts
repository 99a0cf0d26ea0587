// Runs every test with node's own runner. Arguments are files or flags for the runner, e.g. `npm test -- test/simulation`.
import { spawnSync } from "node:child_process";
import { globSync, statSync } from "node:fs";
import { argv, env, execPath, exit } from "node:process";

/** All files together, where a file's own deadline does not come about since its process does nothing but compute. */
const RUN_MS_MAX = 2_400_000 * Number(env.SLUICE_RUNS ?? 1);

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
  [
    "--disable-warning=ExperimentalWarning",
    "--import=./scripts/support/test-file-deadline.ts",
    "--test",
    "--test-timeout=120000",
    ...flags,
    ...files,
  ],
  { stdio: "inherit", timeout: RUN_MS_MAX },
);
exit(status ?? 1);
