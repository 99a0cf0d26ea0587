// Loaded into every process of a test run. A file whose tests are all done, but in which something still keeps the process alive, would
// stop the whole run without a word: it fails instead, and says what it is.
import { env, exit, getActiveResourcesInfo } from "node:process";

const FILE_MS_MAX = 300_000 * Number(env.SLUICE_RUNS ?? 1);

// The runner itself lives as long as all files together.
if (env.NODE_TEST_CONTEXT !== undefined) {
  setTimeout(() => {
    const alive = [...new Set(getActiveResourcesInfo())].sort().join(", ");
    console.error(`this test file is not done after ${FILE_MS_MAX / 1000} s; what keeps it alive: ${alive}`);
    exit(1);
  }, FILE_MS_MAX).unref();
}
