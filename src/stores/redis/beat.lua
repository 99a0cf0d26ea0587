--[[
Renews the lease of a gateway, or (leaseMs 0) ends it; forgets those that have run out.

KEYS    the leases: a sorted set of instances by expiry in epoch ms
ARGV    instance, leaseMs, for tests only the time in epoch ms
Output  how many gateways have a lease
]]
local clockMs
if ARGV[3] then
  clockMs = tonumber(ARGV[3])
else
  local time = redis.call('TIME')
  clockMs = time[1] * 1000 + math.floor(time[2] / 1000)
end
local leases, leaseMs = KEYS[1], tonumber(ARGV[2])
if leaseMs > 0 then
  redis.call('ZADD', leases, string.format('%.0f', clockMs + leaseMs), ARGV[1])
else
  redis.call('ZREM', leases, ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', leases, '-inf', string.format('%.0f', clockMs))
local last = redis.call('ZRANGE', leases, -1, -1, 'WITHSCORES')
if not last[2] then return 0 end
local keepMs = tonumber(last[2]) - clockMs + SLACK_MS
redis.call('PEXPIRE', leases, string.format('%.0f', keepMs))
return redis.call('ZCARD', leases)
