-- How many bytes of the tombstones that stand in `bytes` from `at` on have expired, where there are so many that it matters; nothing where one more is too many.
local function deadTombstones(bytes, at, tombstones)
  if tombstones < TOMBSTONES_PRUNED then return 0 end
  local live, stop = at, at + TOMBSTONE_BYTES * tombstones
  while live < stop and unpackNumbers('<I4', bytes, live + 12) * 1000 <= clockMs do live = live + TOMBSTONE_BYTES end
  if (stop - live) / TOMBSTONE_BYTES >= TOMBSTONES_MAX then return end
  return live - at
end

-- When a tombstone of now expires, as it is stored.
local tombstoneTime
do
  local bytes
  tombstoneTime = function()
    bytes = bytes or packNumbers('<I4', floor((clockMs + CLOSED_MEMORY_MS) / 1000) + 1)
    return bytes
  end
end

-- The tombstones with one more, for the call's reservation; nothing when there are too many.
local function bury(tombstones)
  local dead = deadTombstones(tombstones, 1, #tombstones / TOMBSTONE_BYTES)
  return dead and sub(tombstones, dead + 1) .. id .. tombstoneTime()
end
