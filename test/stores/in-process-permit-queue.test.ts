import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { EmbeddedLimitStore } from "../../src/stores/embedded/embedded-limit-store.ts";
import { MemoryLimitStore } from "../../src/stores/memory/memory-limit-store.ts";
import { permitQueueContract } from "../contract/permit-queue.contract.ts";

permitQueueContract("MemoryLimitStore", async () => {
  const store = new MemoryLimitStore();
  return { stores: [store, store], close: () => store.close() };
});

permitQueueContract("EmbeddedLimitStore", async () => {
  const directory = mkdtempSync(join(tmpdir(), "sluice-permits-"));
  const store = new EmbeddedLimitStore({ directory });
  return {
    stores: [store, store],
    close: async () => {
      await store.close();
      rmSync(directory, { recursive: true, force: true });
    },
  };
});
