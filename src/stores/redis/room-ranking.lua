--[[
src/core/fairness/ranking.ts in Redis: who is first among contests, a set of numbers, while they are served and leave.
]]

-- `first` is of contests the lane of a band that is served first, `served` and `refused` as in core.
local rankingOf
do
  local REFUSALS_MAX = 4

  local function lastToFirst(a, b) return isServedBefore(b, a) end

  local function firstAmong(among, band)
    local best
    for number in pairs(among) do
      local lane = firstOf(number, band)
      if lane and (not best or isServedBefore(lane, best)) then best = lane end
    end
    return best
  end

  local function rank(among, band)
    local ranked = {}
    for number in pairs(among) do
      local lane = firstOf(number, band)
      if lane then ranked[#ranked + 1] = lane end
    end
    table.sort(ranked, lastToFirst)
    return ranked
  end

  local function firstRanked(among, ranked, band)
    local lane = ranked[#ranked]
    while lane do
      local first = among[lane.contest] and firstOf(lane.contest, band)
      if first == lane then return lane end
      -- It sleeps, and its contest has another first now.
      ranked[#ranked] = nil
      if first then
        local at = #ranked
        while at > 0 and isServedBefore(ranked[at], first) do at = at - 1 end
        table.insert(ranked, at + 1, first)
      end
      lane = ranked[#ranked]
    end
  end

  rankingOf = function(among)
    local ranked, refusals = {}, 0
    return {
      served = function() ranked, refusals = {}, 0 end,
      refused = function() refusals = refusals + 1 end,
      first = function(band)
        if refusals < REFUSALS_MAX then return firstAmong(among, band) end
        ranked[band] = ranked[band] or rank(among, band)
        return firstRanked(among, ranked[band], band)
      end,
    }
  end
end
