--[[
Whose turn it is: src/core/fairness/{minimum-shares,ahead,turns}.ts in Redis, function by function.
]]
local LOOKAHEAD = 4
-- Who asks.
local gateway = ARGV[2]

-- What is published to each gateway at the end of the run.
local grants = {}

-- limits

local general
local function useCall(ticket)
  id, a, KEYS, keysBefore = idIn(ticket.name), ticket.numbers, ticket.keys, 0
end

-- Verdict, waitMs, the subject in whose way it is, and the whole reply.
local function attempt(ticket)
  useCall(ticket)
  -- The fast part knows nothing of subjects that this run has read already.
  local reply = not general and room.waiting == 0 and attemptFast()
  if not reply then
    general = general or makeGeneral()
    reply = attemptKnown()
    if reply then return 0, 0, 1, reply end
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

-- How long until a call fits behind what waits in front of it: see sharedAhead.
local function waitBehind(ticket, weight, contest, own, joining, isIn)
  useCall(ticket)
  general = general or makeGeneral()
  return expectedWait(ticket, weight, contest, own, joining, isIn)
end

-- minimum-shares.ts

local function isOwed(band, size) return band > 1 and room.credit[band] >= size end

local function joined(band, size)
  if size > room.sizeMax[band] then room.sizeMax[band] = size end
  if size < room.sizeMin[band] then room.sizeMin[band] = size end
end

local function served(band, size)
  local credits = room.credit
  for other = 2, BANDS do
    if room.inLine[other] > 0 then
      local credit, most = credits[other] + size * room.minShares[other], 2 * room.sizeMax[other]
      credits[other] = credit < most and credit or most
    end
  end
  local left = credits[band] - size
  credits[band] = left > 0 and left or 0
end

local function count(flow, size)
  flow.unsettled = flow.unsettled + 1
  recount(flow, size)
  served(flow.band, size)
end

-- turns.ts

-- `among` are contests, by number; all of them where it is a function that finds them.
local function owedBand(among)
  for band = BANDS, 2, -1 do
    -- Nothing that waits is smaller than the least that came.
    if room.inLine[band] > 0 and room.credit[band] >= room.sizeMin[band] then
      if type(among) == 'function' then among = among() end
      local best
      for number in pairs(among) do
        local lane = firstOf(number, band)
        if lane and (not best or isServedBefore(lane, best)) then best = lane end
      end
      if best and isOwed(band, best.size) then return band end
    end
  end
end

local function nextOf(among)
  local owed = owedBand(among)
  local best
  for number in pairs(among) do
    local lane
    if owed then lane = firstOf(number, owed) else lane = bestOf(number) end
    if lane and (not best or isServedBefore(lane, best)) then best = lane end
  end
  return best
end

local function isShared(ticket, subject) return ticket.numbers[ticket.isSharedAt + subject] == 1 end

local function blocked(lane, ticket, verdict, waitMs, subject)
  if verdict == 1 and waitMs < 1 then waitMs = 1 end
  if verdict ~= 1 then waitMs = ticket.maxWaitMs end
  if verdict == 1 and isShared(ticket, subject) then
    local contest = contestOf(lane.contest)
    local dueMs = clockMs + waitMs
    if contest.dueMs <= clockMs or dueMs < contest.dueMs then setDue(lane.contest, contest, dueMs) end
    return
  end
  sleep(lane, ticket, clockMs + waitMs)
end

local function try(lane)
  local ticket = ticketOf(lane.head)
  local verdict, waitMs, subject, reply = attempt(ticket)
  if verdict == 0 then
    removeTicket(ticket, lane)
    count(lane.flow, ticket.size)
    local told = listOf(grants, gatewayIn(ticket.name))
    told[#told + 1] = id .. packNumbers('<I4', #reply) .. reply
  else
    blocked(lane, ticket, verdict, waitMs, subject)
  end
  return verdict, subject
end

local function overtakersOf(firstLane)
  local number, names = firstLane.contest, {}
  for band = firstLane.band, BANDS do
    if #names >= LOOKAHEAD then break end
    if room.inLine[band] > 0 then
      addFrom(lineOf(number, band), band == firstLane.band and 1 or 0, LOOKAHEAD - #names, names)
    end
  end
  local smallest, isFound = firstIn(bySize[number]), false
  for _, name in ipairs(names) do isFound = isFound or name == smallest end
  if smallest and not isFound then names[#names + 1] = smallest end
  foreseeLanes(names)
  return names
end

-- Whether a call asks for less of what a head has no room for, of the subject of that key, which both share in the same contest: only then can it fit.
local function asksForLess(ticket, head, key)
  local needs, a, p, at = {}, head.numbers, 7 + head.numbers[5], 0
  for i = 1, a[5] do
    for _ = 1, a[6 + i] do
      if head.keys[i] == key then needs[#needs + 1] = a[p + 5] end
      p = p + 7
    end
  end
  a, p = ticket.numbers, 7 + ticket.numbers[5]
  for i = 1, a[5] do
    for _ = 1, a[6 + i] do
      if ticket.keys[i] == key then
        at = at + 1
        if a[p + 5] < needs[at] then return true end
      end
      p = p + 7
    end
  end
  return false
end

-- `key` is what the head has no room under.
local function overtake(firstLane, key)
  local head = ticketOf(firstLane.head)
  local failed = head.size
  while firstLane.overtakeLeft > 0 do
    local _, smallest = firstIn(bySize[firstLane.contest])
    -- Nobody is small enough.
    if not smallest or smallest >= failed then return end
    local wasServed = false
    for _, name in ipairs(overtakersOf(firstLane)) do
      local lane = laneOf(name)
      local size = lane.size
      if size < failed and mayOvertake(lane.flow, size, firstLane) and asksForLess(ticketOf(lane.head), head, key) then
        if try(lane) == 0 then
          firstLane.overtakeLeft = firstLane.overtakeLeft - size
          keepFlow(firstLane.flow)
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

local function close(among, key, firstNumber)
  local dueMs = contestOf(firstNumber).dueMs
  for number in pairs(among) do
    local contest = contestOf(number)
    -- One whose last call was served is gone.
    if not contest then
      among[number] = nil
    elseif sharesKey(contest, key) then
      among[number] = nil
      if contest.inLine > 0 then setDue(number, contest, dueMs) end
    end
  end
end

local function dispatch(among)
  local saved = {}
  for number in pairs(among) do
    local contest = contestOf(number)
    if contest then setDue(number, contest, 0) else among[number] = nil end
  end
  while true do
    local lane = nextOf(among)
    if not lane then return end
    local number, head = lane.contest, ticketOf(lane.head)
    local contest = contestOf(number)
    local verdict, subject = try(lane)
    if verdict == 0 then
      for _, one in ipairs(saved) do
        if sharesKey(contest, one.key) then
          one.lane.overtakeLeft = one.lane.overtakeLeft - head.size
          keepFlow(one.lane.flow)
          if one.lane.overtakeLeft <= 0 then close(among, one.key, one.lane.contest) end
        end
      end
    elseif lane.dueMs == 0 then
      among[number] = nil
      local key = head.keys[subject]
      overtake(lane, key)
      if lane.overtakeLeft > 0 then saved[#saved + 1] = { lane = lane, key = key } else close(among, key, number) end
    end
  end
end
