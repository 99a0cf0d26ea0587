-- src/core/fairness/ahead.ts in Redis.

-- Of what waits in a band, the part that a flow of `weight` finds in front of its own `own`.
local function turnsAhead(own, need, waiting, weights, weight)
  local turns = (own + need) * (weights / weight) - need
  if turns > waiting then turns = waiting end
  return turns > own and turns or own
end

-- What is charged before a call on the limit that is `shared` among those that its contest shares. `mine` is what its own lane has in front of it, `joining` its
-- flow's weight where its lane does not wait yet, else 0; `isIn` is whether the call itself waits already.
local function sharedAhead(contest, band, shared, need, mine, weight, joining, isIn)
  local loads, higher = contest.loads, 0
  for other = 1, band - 1 do higher = higher + loads[other].needs[shared] end
  local waiting = loads[band].needs[shared] - (isIn and need or 0)
  return higher + turnsAhead(mine, need, waiting, loads[band].weight + joining, weight)
end

local function callsAhead(lane, contest, own)
  if #contest.shared == 0 then return own end
  local higher, load = 0, contest.loads[lane.band]
  for band = 1, lane.band - 1 do higher = higher + contest.loads[band].calls end
  return higher + floor(turnsAhead(own, 1, load.calls - 1, load.weight, lane.flow.weight))
end
