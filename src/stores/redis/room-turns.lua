--[[
Whose turn it is: src/core/fairness/{minimum-shares,ahead,waiting-room}.ts in Redis, function by function.
]]
local LOOKAHEAD = 4

local general
local function useCall(ticketName, request, keys)
  id, a = ticketName, unpackAll(DOUBLES, 1, 8, request, 13, (#request - 12) / 8)
  KEYS, keysBefore = keys, 0
end

-- Verdict, waitMs, the subject in whose way it is, and the whole reply.
local function attempt(ticketName, request, keys)
  useCall(ticketName, request, keys)
  local reply = fast()
  if not reply then
    general = general or makeGeneral()
    reply = general()
  end
  -- What the fast part answers does not begin as a number does: see reserve-fast.lua.
  if byte(reply) > 0 then return 0, 0, 1, reply end
  local verdict, waitMs, limiting = unpackNumbers('<ddd', reply)
  local subject = 1
  if verdict == 1 then
    local rest = limiting
    while rest >= a[6 + subject] do
      rest = rest - a[6 + subject]
      subject = subject + 1
    end
  end
  return verdict, waitMs, subject, reply
end

local function waitBehind(ticketName, request, keys, ahead, serviceMs)
  useCall(ticketName, request, keys)
  general = general or makeGeneral()
  return expectedWait(ahead, serviceMs)
end

-- minimum-shares.ts

local function isOwed(band, size) return band > 1 and room().credit[band] >= size end

local function served(band, size)
  local r = room()
  for other = 2, BANDS do
    if r.inLine[other] > 0 then
      local credit, most = r.credit[other] + size * r.minShares[other], 2 * r.sizeMax[other]
      r.credit[other] = credit < most and credit or most
    end
  end
  local left = r.credit[band] - size
  r.credit[band] = left > 0 and left or 0
end

local function count(flowName, flowKey, flow, band, size)
  flow.unsettled = flow.unsettled + 1
  recount(flowName, flowKey, flow, band, size)
  served(band, size)
end

-- ahead.ts

local function turnsAhead(own, need, waiting, weights, weight)
  local turns = (own + need) * (weights / weight) - need
  if turns > waiting then turns = waiting end
  return turns > own and turns or own
end

local function aheadOf(ticket, weight, contest, own, joining, isIn)
  local ahead, load_ = {}, contest.loads[ticket.band]
  for charge, need in ipairs(ticket.needs) do
    local shared, mine = ticket.sharedCharges[charge], own and own[charge] or 0
    if shared == 0 then
      ahead[charge] = mine
    else
      local higher = 0
      for band = 1, ticket.band - 1 do higher = higher + contest.loads[band].needs[shared] end
      local waiting = load_.needs[shared] - (isIn and need or 0)
      ahead[charge] = higher + turnsAhead(mine, need, waiting, load_.weight + joining, weight)
    end
  end
  return ahead
end

local function callsAhead(lane, weight, contest, own)
  if #contest.shared == 0 then return own end
  local higher, load_ = 0, contest.loads[lane.band]
  for band = 1, lane.band - 1 do higher = higher + contest.loads[band].calls end
  return higher + floor(turnsAhead(own, 1, load_.calls - 1, load_.weight, weight))
end

-- waiting-room.ts

local function owedBand(contests)
  for band = BANDS, 2, -1 do
    if room().inLine[band] > 0 then
      local bestName, best
      for number in pairs(contests) do
        local name, lane = firstOf(number, band)
        if name and (not best or isServedBefore(name, lane, bestName, best)) then bestName, best = name, lane end
      end
      if best and isOwed(band, headOf(best).size) then return band end
    end
  end
end

local function nextOf(contests)
  local owed = owedBand(contests)
  local bestName, best
  for number in pairs(contests) do
    local name, lane
    if owed then name, lane = firstOf(number, owed) else name, lane = bestOf(number) end
    if name and (not best or isServedBefore(name, lane, bestName, best)) then bestName, best = name, lane end
  end
  return bestName, best
end

local function blocked(name, lane, ticket, verdict, waitMs, subject)
  if verdict == 1 and waitMs < 1 then waitMs = 1 end
  if verdict ~= 1 then waitMs = ticket.maxWaitMs end
  if verdict == 1 and ticket.isShared[subject] == 1 then
    local contest = contestOf(lane.contest)
    local dueMs = clockMs + waitMs
    if contest.dueMs <= clockMs or dueMs < contest.dueMs then setDue(lane.contest, contest, dueMs) end
    return
  end
  sleep(name, lane, clockMs + waitMs)
end

local function try(name, lane)
  local ticketName = lane.head
  local ticket = ticketOf(ticketName)
  local verdict, waitMs, subject, reply = attempt(ticketName, ticket.request, ticket.keys)
  if verdict == 0 then
    local flowKey = 'f:' .. lane.band .. ':' .. lane.flow
    removeTicket(ticketName, ticket)
    count(lane.flow, flowKey, load(flowKey), lane.band, ticket.size)
    call('PUBLISH', ROOM .. 'g:' .. ticket.gateway, ticketName .. reply)
  else
    blocked(name, lane, ticket, verdict, waitMs, subject)
  end
  return verdict, subject
end

local function overtakersOf(firstName, firstLane)
  local number, found = firstLane.contest, {}
  for band = firstLane.band, BANDS do
    if #found >= LOOKAHEAD then break end
    local from = band == firstLane.band and 1 or 0
    local names = call('ZRANGE', ROOM .. 'o:' .. number .. ':' .. band, from, from + LOOKAHEAD - #found - 1)
    for _, name in ipairs(names) do found[#found + 1] = name end
  end
  local smallest = zfirst('z:' .. number)
  if smallest then
    for _, name in ipairs(found) do
      if name == smallest then return found end
    end
    found[#found + 1] = smallest
  end
  return found
end

-- Whether a call asks for less of what a head has no room for under the shared key at `place`: only then can it fit.
local function asksForLess(ticket, head, place)
  local needs, at = {}, 0
  for charge, need in ipairs(head.needs) do
    if head.chargePlaces[charge] == place then needs[#needs + 1] = need end
  end
  for charge, need in ipairs(ticket.needs) do
    if ticket.chargePlaces[charge] == place then
      at = at + 1
      if need < needs[at] then return true end
    end
  end
  return false
end

local function overtake(firstName, firstLane, place)
  local headName = firstLane.head
  local head = ticketOf(headName)
  local failed = head.size
  while head.overtakeLeft > 0 do
    local wasServed = false
    for _, name in ipairs(overtakersOf(firstName, firstLane)) do
      local lane = laneOf(name)
      local size = headOf(lane).size
      if size < failed and asksForLess(headOf(lane), head, place) and mayOvertake(lane.band, flowOf(lane), size, firstLane) then
        if try(name, lane) == 0 then
          head.overtakeLeft = head.overtakeLeft - size
          keep('t:' .. headName, head)
          wasServed = true
          break
        end
        if lane.dueMs == 0 then failed = size end
      end
    end
    if not wasServed then return end
  end
end

local function sharesKey(contest, key)
  for _, shared in ipairs(contest.shared) do
    if shared == key then return true end
  end
  return false
end

local function close(contests, key, firstNumber)
  local dueMs = contestOf(firstNumber).dueMs
  for number in pairs(contests) do
    local contest = contestOf(number)
    -- One whose last call was served is gone.
    if not contest then
      contests[number] = nil
    elseif sharesKey(contest, key) then
      contests[number] = nil
      if bestOf(number) then setDue(number, contest, dueMs) end
    end
  end
end

local function dispatch(contests)
  local saved = {}
  for number in pairs(contests) do
    local contest = contestOf(number)
    if contest then setDue(number, contest, 0) else contests[number] = nil end
  end
  while true do
    local name, lane = nextOf(contests)
    if not name then return end
    local number, headName = lane.contest, lane.head
    local head, contest = ticketOf(headName), contestOf(number)
    local verdict, subject = try(name, lane)
    if verdict == 0 then
      for _, one in ipairs(saved) do
        if sharesKey(contest, one.key) then
          local waiting = ticketOf(one.head)
          if waiting then
            waiting.overtakeLeft = waiting.overtakeLeft - head.size
            keep('t:' .. one.head, waiting)
            if waiting.overtakeLeft <= 0 then close(contests, one.key, one.contest) end
          end
        end
      end
    elseif lane.dueMs == 0 then
      contests[number] = nil
      local key = contest.shared[head.sharedPlaces[subject]]
      overtake(name, lane, head.sharedPlaces[subject])
      if head.overtakeLeft > 0 then
        saved[#saved + 1] = { head = headName, contest = number, key = key }
      else
        close(contests, key, number)
      end
    end
  end
end
