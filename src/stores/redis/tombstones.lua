-- The tombstones with one more, for the call's reservation; nothing when there are too many.
local function bury(tombstones)
  local size = #tombstones
  if size >= TOMBSTONES_PRUNED * TOMBSTONE_BYTES then
    local live = 1
    while live < size and unpackNumbers('<I4', tombstones, live + 12) * 1000 <= clockMs do live = live + TOMBSTONE_BYTES end
    if live > 1 then tombstones = sub(tombstones, live) end
    if #tombstones >= TOMBSTONES_MAX * TOMBSTONE_BYTES then return end
  end
  return tombstones .. id .. packNumbers('<I4', floor((clockMs + CLOSED_MEMORY_MS) / 1000) + 1)
end
