--[[
How the fast parts find their way in a subject's value; what stands where is in subject-state.lua. What they do not find, they leave to the general part.
]]
local FAST_HOLDS_MAX = 16
local clockBytes

-- The time of a subject at this call, and as bytes. Nothing for a state without a limit, which has no time of its own, and after a leap of the clock.
local function timeAfter(lastMs)
  if lastMs > clockMs then
    if lastMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return end
    return lastMs, packNumbers('<i6', lastMs)
  end
  if lastMs == 0 then return end
  clockBytes = clockBytes or packNumbers('<i6', clockMs)
  return clockMs, clockBytes
end

-- Looks for a limit's entry from `at` on, and for its older sub-windows, which stand from `olderAt` on: where both are, where those of the next limit are, and
-- the entry's numbers. Limits stand in the order of the charges, but for those that the call has nothing to do with.
local function findRolling(limitId, value, at, olderAt, headBytes)
  while at + ENTRY_BYTES - 1 <= headBytes do
    local storedId, older, startMs, lastMs, held, used = unpackNumbers(ENTRY, value, at)
    local nextAt, nextOlderAt = at + ENTRY_BYTES, olderAt
    if older >= LONG then
      if storedId == limitId then return end
      nextAt = at + 10 + INTEGER_BYTES * unpackNumbers('<I3', value, at + 7)
    elseif older > 0 then
      nextAt, nextOlderAt = nextAt + OLDER_BYTES, olderAt + SLOT_BYTES * older
    end
    if storedId == limitId then return at, olderAt, nextAt, nextOlderAt, older, startMs, lastMs, held, used end
    at, olderAt = nextAt, nextOlderAt
  end
end
