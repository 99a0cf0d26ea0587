--[[
How limits stand; changes nothing.

KEYS    of one call, as in subject-state.lua; without a reservation's own key
ARGV    of one call, as in subject-state.lua
Output  little-endian doubles: (used, held, moreInMs, fullInMs) of each limit asked for
]]
a = unpackAll(DOUBLES, 1, 8, ARGV[2], 13, (#ARGV[2] - 12) / 8)
useAlgorithms(KEYS[a[5] + 1])
local reply, size, p = {}, 0, 7 + a[5]
for i = 1, a[5] do
  local value = call('GET', KEYS[i])
  local s = value and toState(value)
  for _ = 1, a[6 + i] do
    reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readLimit(s, p)
    size = size + 4
    p = p + 7
  end
end
return packAll(DOUBLES, 1, reply, size)
