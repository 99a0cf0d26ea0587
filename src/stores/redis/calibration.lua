--[[
Publishes what an instance has learned, or reads what all have; forgets those that published too long ago, or longest ago where there are too many.

KEYS    a hash: instance -> epoch ms ':' body
ARGV    keepMs, instancesMax, instance ('' to read), body, for tests only the time in epoch ms
Output  to read: instance, body, instance, body, …; else nothing
]]
local key, keepMs, instancesMax, instance = KEYS[1], tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]
local clockMs
if ARGV[5] then
  clockMs = tonumber(ARGV[5])
else
  local time = redis.call('TIME')
  clockMs = time[1] * 1000 + math.floor(time[2] / 1000)
end
if instance ~= '' then
  redis.call('HSET', key, instance, string.format('%.0f', clockMs) .. ':' .. ARGV[4])
  redis.call('PEXPIRE', key, ARGV[1])
  -- Bodies are large: they are looked at only where there are too many.
  if redis.call('HLEN', key) <= instancesMax then return {} end
end
local all = redis.call('HGETALL', key)
local found = {}
for i = 1, #all, 2 do
  local colon = string.find(all[i + 1], ':', 1, true)
  local atMs = tonumber(string.sub(all[i + 1], 1, colon - 1))
  if atMs <= clockMs - keepMs then
    redis.call('HDEL', key, all[i])
  else
    found[#found + 1] = { instance = all[i], atMs = atMs, value = all[i + 1], start = colon + 1 }
  end
end
table.sort(found, function(a, b)
  if a.atMs ~= b.atMs then return a.atMs < b.atMs end
  -- The one that publishes is the newest of its millisecond.
  return a.instance ~= instance and (b.instance == instance or a.instance < b.instance)
end)
for i = 1, #found - instancesMax do
  redis.call('HDEL', key, found[i].instance)
end
local reply = {}
if instance ~= '' then return reply end
for i = math.max(1, #found - instancesMax + 1), #found do
  reply[#reply + 1] = found[i].instance
  reply[#reply + 1] = string.sub(found[i].value, found[i].start)
end
return reply
