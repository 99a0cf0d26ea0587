-- The tombstones with one more, for the call's reservation; nothing when there are too many.
local function bury(tombstones)
  local size = #tombstones
  if size >= TOMBSTONES_BYTES_PRUNED then
    local live = 1
    while live < size and unpackNumbers('<I4', tombstones, live + 12) * 1000 <= clockMs do live = live + 16 end
    if live > 1 then tombstones = sub(tombstones, live) end
    if #tombstones >= TOMBSTONES_BYTES_MAX then return end
  end
  return tombstones .. id .. packNumbers('<I4', floor((clockMs + CLOSED_MEMORY_MS) / 1000) + 1)
end
