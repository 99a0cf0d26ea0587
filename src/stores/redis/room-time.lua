--[[
src/core/fairness/room-time.ts in Redis: the time by which the room goes, as far as it is asked about calls that wait and gateways that live. `clockMs` is that of limits.
]]

-- How long a gateway lives after it was heard of.
local GATEWAY_LEASE_MS = 5000
local roomMs, wasUnheard
do
  -- A gateway that lives looks after the room each second. Where nobody has for so long, the clock has leapt forward, or Redis stood still: then none of them was heard of, and
  -- none is known to be dead. One whose lease is the shortest is heard of again before that is over.
  local UNHEARD_MS = 2500

  local backMs = room.lastMs - clockMs
  wasUnheard = room.waiting > 0 and -backMs > UNHEARD_MS
  if backMs > CLOCK_STEP_TOLERANCE_MS then room.aheadMs = room.aheadMs + backMs end
  if backMs < 0 or backMs > CLOCK_STEP_TOLERANCE_MS then room.lastMs = clockMs end
  roomMs = clockMs + room.aheadMs
end
