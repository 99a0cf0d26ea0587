--[[
How limits stand; changes nothing.

KEYS    the subjects' values; the leases, where concurrency is asked for
ARGV    see subject-state.lua
Output  little-endian doubles: (used, held, moreInMs, fullInMs) of each limit asked for
]]
local reply, size, p = {}, 0, 9 + a[7]
for i = 1, a[7] do
  local value, s = call('GET', KEYS[i])
  if value then
    local count = unpackNumbers('<d', value, 17) % 65536
    s = toNumbers(value, 1, count)
    s[3] = count
  end
  for _ = 1, a[8 + i] do
    reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readLimit(s, p)
    size = size + 4
    p = p + 7
  end
end
return toBytes(reply, size)
