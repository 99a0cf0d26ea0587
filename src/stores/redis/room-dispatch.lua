--[[
Serves whose turn it is, until nobody fits: `dispatch` of src/core/fairness/turns.ts in Redis, over room-turns.lua.
]]
local dispatch
do
  -- Among more contests each turn takes longer, and hardly anybody of each contest has one.
  local CONTESTS_FEW, TURNS_AMONG_MANY_MAX = 32, 16

  local function sharesKey(contest, key)
    for _, shared in ipairs(contest.shared) do
      if shared == key then return true end
    end
    return false
  end

  -- Nobody of a contest is served before the moment of somebody else.
  local function leaveOut(among, number, contest, dueMs)
    among[number] = nil
    if contest and contest.inLine > 0 then setDue(number, contest, dueMs) end
  end

  -- What is shared is saved for somebody: nobody else is served from it before.
  local function close(among, key, firstNumber)
    local dueMs = contestOf(firstNumber).dueMs
    for number in pairs(among) do
      local contest = contestOf(number)
      -- One whose last call was served is gone.
      if not contest or sharesKey(contest, key) then leaveOut(among, number, contest, dueMs) end
    end
  end

  -- Nobody is tried for whom what a head was refused does not do either: clients may make up as many contests as they like.
  local function bar(among, key, head, firstNumber)
    local dueMs, needs, limits = contestOf(firstNumber).dueMs, needsUnder(head, key)
    for number in pairs(among) do
      local contest = contestOf(number)
      if not contest or isBarredWith(contest, key, limits, needs) then leaveOut(among, number, contest, dueMs) end
    end
  end

  -- Who can be served is when others have had their turn of Redis.
  local function goOnLater(among)
    for number in pairs(among) do leaveOut(among, number, contestOf(number), roomMs) end
  end

  -- Counts a call that was served in front of those who save for a moment.
  local function countPassing(among, saved, contest, size)
    for _, one in ipairs(saved) do
      if sharesKey(contest, one.key) then
        one.lane.overtakeLeft = one.lane.overtakeLeft - size
        keepFlow(one.lane.flow)
        if one.lane.overtakeLeft <= 0 then close(among, one.key, one.lane.contest) end
      end
    end
  end

  -- Looks at all of them, so nobody waits for a moment.
  local function beginWith(among)
    local count = 0
    for number in pairs(among) do
      local contest = contestOf(number)
      count = count + 1
      if contest then setDue(number, contest, 0) else among[number] = nil end
    end
    if count <= CONTESTS_FEW then return end
    foreseen = 1
    if turnsLeft > TURNS_AMONG_MANY_MAX then turnsLeft = TURNS_AMONG_MANY_MAX end
  end

  dispatch = function(among)
    local saved, ranking = {}, rankingOf(among)
    beginWith(among)
    while true do
      if turnsLeft == 0 then return goOnLater(among) end
      local lane, turnsBefore = nextIn(ranking), turnsLeft
      if not lane then return end
      local number, head = lane.contest, ticketOf(lane.head)
      local contest = contestOf(number)
      local verdict, subject = try(lane)
      if verdict == 0 then
        ranking.served()
        countPassing(among, saved, contest, head.size)
      else
        ranking.refused()
        if lane.dueMs == 0 then
          local key = head.keys[subject]
          overtake(lane, key)
          if turnsLeft < turnsBefore then ranking.served() end
          -- There may be more who can overtake.
          if turnsLeft > 0 then
            among[number] = nil
            if lane.overtakeLeft > 0 then
              bar(among, key, head, number)
              saved[#saved + 1] = { lane = lane, key = key }
            else
              close(among, key, number)
            end
          end
        end
      end
    end
  end
end
