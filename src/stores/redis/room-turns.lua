--[[
Whose turn it is: src/core/fairness/{minimum-shares,ahead,turns}.ts in Redis, function by function.
]]
local LOOKAHEAD = 4
-- So many calls are served by one run, and so many woken: about ten milliseconds. That many requests are one script too.
local TURNS_MAX = 64
local turnsLeft = TURNS_MAX
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

local count
do
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

  count = function(flow, size)
    flow.unsettled = flow.unsettled + 1
    recount(flow, size)
    served(flow.band, size)
  end
end

-- turns.ts

-- Who is next in the lowest band that is owed a call.
local function owedIn(ranking)
  for band = BANDS, 2, -1 do
    -- Nothing that waits is smaller than the least that came.
    if room.inLine[band] > 0 and room.credit[band] >= room.sizeMin[band] then
      local first = ranking.first(band)
      if first and isOwed(band, first.size) then return first end
    end
  end
end

local function nextIn(ranking)
  local lane = owedIn(ranking)
  if lane then return lane end
  for band = 1, BANDS do
    lane = room.inLine[band] > 0 and ranking.first(band)
    if lane then return lane end
  end
end

local function isShared(ticket, subject) return ticket.numbers[ticket.isSharedAt + subject] == 1 end

local function blocked(lane, ticket, verdict, waitMs, subject)
  if verdict == 1 and waitMs < 1 then waitMs = 1 end
  if verdict ~= 1 then waitMs = ticket.maxWaitMs end
  if verdict == 1 and isShared(ticket, subject) then
    local contest = contestOf(lane.contest)
    local dueMs = roomMs + waitMs
    if contest.dueMs <= roomMs or dueMs < contest.dueMs then setDue(lane.contest, contest, dueMs) end
    return
  end
  sleep(lane, ticket, roomMs + waitMs)
end

local function try(lane)
  local ticket = ticketOf(lane.head)
  local verdict, waitMs, subject, reply = attempt(ticket)
  if verdict == 0 then
    turnsLeft = turnsLeft - 1
    removeTicket(ticket, lane)
    count(lane.flow, ticket.size)
    local told = listOf(grants, gatewayIn(ticket.name))
    told[#told + 1] = id .. packNumbers('<I4', #reply) .. reply
  else
    blocked(lane, ticket, verdict, waitMs, subject)
  end
  return verdict, subject
end

-- What a call asks for under a key, and of which limits.
local function needsUnder(ticket, key)
  local needs, limits, a = {}, {}, ticket.numbers
  local p = 7 + a[5]
  for i = 1, a[5] do
    local charges = a[6 + i]
    if ticket.keys[i] == key then
      for at = p, p + 7 * charges - 7, 7 do needs[#needs + 1], limits[#limits + 1] = a[at + 5], a[at + 1] end
    end
    p = p + 7 * charges
  end
  return needs, limits
end

local overtake
do
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

  -- Whether a call asks for less of what a head has no room for, which asks for `theirs` under that key, and both share in the same contest: only then can it fit.
  local function asksForLess(ticket, theirs, key)
    local a, at = ticket.numbers, 0
    local p = 7 + a[5]
    for i = 1, a[5] do
      local next = p + 7 * a[6 + i]
      if ticket.keys[i] == key then
        for need = p + 5, next - 1, 7 do
          at = at + 1
          if a[need] < theirs[at] then return true end
        end
      end
      p = next
    end
    return false
  end

  -- `key` is what the head has no room under.
  overtake = function(firstLane, key)
    local head = ticketOf(firstLane.head)
    local failed, theirs = head.size, nil
    while firstLane.overtakeLeft > 0 and turnsLeft > 0 do
      local _, smallest = firstIn(bySize[firstLane.contest])
      -- Nobody is small enough.
      if not smallest or smallest >= failed then return end
      local wasServed = false
      for _, name in ipairs(overtakersOf(firstLane)) do
        local lane = laneOf(name)
        local size = lane.size
        theirs = theirs or needsUnder(head, key)
        if size < failed and mayOvertake(lane.flow, size, firstLane) and asksForLess(ticketOf(lane.head), theirs, key) then
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
end
