export { type OpenRedisOptions, openRedisLimitStore } from "./open-redis-limit-store.ts";
export { RedisLimitStore } from "./redis-limit-store.ts";
