import type { Redis } from "ioredis";
import type { Telemetry } from "../../ports/telemetry.ts";

/** The first release in which scripts see no more than what the `.lua` files use; older ones are not tested. */
const VERSION_MIN = [6, 2];

/**
 * Looks at how the servers are set up. Warns where a setting would break promises; resolves to a sentence when they cannot be used at all.
 * Rejects when the connection is lost meanwhile.
 */
export async function checkServer(
  servers: readonly Redis[],
  telemetry: Telemetry,
): Promise<string | undefined> {
  for (const server of servers) {
    const info = String(await server.info("server"));
    const version = /redis_version:(\d+)\.(\d+)/.exec(info);
    if (version !== null && isOlder(Number(version[1]), Number(version[2]))) {
      const problem = `Sluice needs Redis ${VERSION_MIN.join(".")} or later; this is ${version[1]}.${version[2]}`;
      telemetry.log("error", problem);
      return problem;
    }
    const policy = await evictionPolicy(server);
    if (policy === undefined || policy === "noeviction") continue;
    telemetry.log("warn", "Redis may evict keys, which resets limits: set maxmemory-policy to noeviction", {
      "maxmemory-policy": policy,
    });
  }
  return undefined;
}

function isOlder(major: number, minor: number): boolean {
  return major < VERSION_MIN[0] || (major === VERSION_MIN[0] && minor < VERSION_MIN[1]);
}

/** `undefined` where it must not be asked, as with many hosted servers. */
async function evictionPolicy(server: Redis): Promise<string | undefined> {
  try {
    const [, policy] = (await server.config("GET", "maxmemory-policy")) as string[];
    return policy;
  } catch {
    return undefined;
  }
}
