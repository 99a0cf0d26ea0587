import { openRedisLimitStore } from "../../../src/stores/redis/open-redis-limit-store.ts";
import { limitStoreContract } from "../../contract/limit-store.contract.ts";
import { ManualClock } from "../../support/manual-clock.ts";
import { startRedisCluster } from "../../support/redis-cluster.ts";
import { startRedisServer } from "../../support/redis-server.ts";

interface Backend {
  readonly url: string;
  stop(): Promise<void>;
}

function contract(name: string, start: () => Promise<Backend>, query = ""): void {
  limitStoreContract(name, async () => {
    const backend = await start();
    const clock = new ManualClock();
    const open = () => openRedisLimitStore({ url: `${backend.url}${query}`, clock });
    const stores = [await open(), await open()] as const;
    return {
      clock,
      stores,
      close: async () => {
        await Promise.all(stores.map((store) => store.close()));
        await backend.stop();
      },
    };
  });
}

contract("RedisLimitStore on one server", () => startRedisServer());
contract("RedisLimitStore on a cluster", () => startRedisCluster());
contract("RedisLimitStore on a cluster in eight realms", () => startRedisCluster(), "?realms=8");
