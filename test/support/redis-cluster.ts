import { type RedisServer, type RedisServerOptions, startRedisServer } from "./redis-server.ts";

const SLOTS = 16_384;

export interface RedisCluster {
  /** The masters in the order of their slots: an even, contiguous share each. */
  readonly nodes: readonly RedisServer[];
  /** As a `store` setting. */
  readonly url: string;
  /** Ends all nodes and removes their files. */
  stop(): Promise<void>;
}

export interface RedisClusterOptions extends Omit<RedisServerOptions, "cluster"> {
  /** Default 3. */
  readonly masters?: number;
}

/** Starts a cluster of masters without replicas; when it resolves, every node knows the owner of every slot. Takes about three seconds. */
export async function startRedisCluster(options: RedisClusterOptions = {}): Promise<RedisCluster> {
  const { masters = 3, ...serverOptions } = options;
  const started = await Promise.allSettled(
    Array.from({ length: masters }, () => startRedisServer({ ...serverOptions, cluster: true })),
  );
  const nodes = started.filter((result) => result.status === "fulfilled").map((result) => result.value);
  const stop = async () => {
    await Promise.all(nodes.map((node) => node.stop()));
  };
  try {
    for (const result of started) if (result.status === "rejected") throw result.reason;
    await assignSlots(nodes);
    await introduce(nodes);
    await Promise.all(nodes.map((node) => node.waitForLog("Cluster state changed: ok")));
    for (const node of nodes) await checkView(node, nodes.length);
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    nodes,
    stop,
    url: `redis-cluster://${nodes.map((node) => `${node.host}:${node.port}`).join(",")}`,
  };
}

async function assignSlots(nodes: readonly RedisServer[]): Promise<void> {
  const firstSlot = (index: number) => Math.floor((index * SLOTS) / nodes.length);
  for (const [index, node] of nodes.entries()) {
    // Different epochs from the start, or the nodes would first have to agree on them.
    await node.command("CLUSTER", "SET-CONFIG-EPOCH", String(index + 1));
    await node.command(
      "CLUSTER",
      "ADDSLOTSRANGE",
      String(firstSlot(index)),
      String(firstSlot(index + 1) - 1),
    );
  }
}

async function introduce(nodes: readonly RedisServer[]): Promise<void> {
  const first = nodes[0]!;
  for (const node of nodes.slice(1))
    await first.command("CLUSTER", "MEET", node.host, String(node.port), String(node.busPort));
}

/** Full coverage is required by default, so state ok means that all slots have an owner; settings may have changed that. */
async function checkView(node: RedisServer, masters: number): Promise<void> {
  const info = String(await node.command("CLUSTER", "INFO"));
  if (info.includes(`cluster_slots_ok:${SLOTS}`) && info.includes(`cluster_size:${masters}`)) return;
  throw new Error(`a node does not see the whole cluster:\n${info}`);
}
