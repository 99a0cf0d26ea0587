import { enableCompileCache } from "node:module";
import { join } from "node:path";

/**
 * What this process compiles is kept for the next one, which starts a third sooner. Beside the packages that it belongs to, where only who may change those may write;
 * where that is not allowed there is no cache. As far from here in the source as in what is published. Imported first: what is loaded before it is compiled anew, unless
 * `NODE_COMPILE_CACHE` says the same, as scripts/run.mjs does.
 */
enableCompileCache(join(import.meta.dirname, "..", "..", "node_modules", ".cache", "sluice-compiled"));
