--[[
The waiting room: what is asked of src/core/fairness/waiting-room.ts, for all gateways on a store, function by function. A call waits here as a ticket; when its turn comes,
its limits are charged in the same run as its gateway is told.

KEYS    what starts every key of the room; all of them, and those of the calls, have the same hash tag
ARGV    for tests only the time in epoch ms, else empty; the gateway; then requests one after the other, each: its letter, how many
        arguments follow, and these:

    e  enter  the call (subject-state.lua), [band, weight, size, bytes, maxWaitMs, waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, minShares*4,
              (is shared)*subjects], flow, key of its contest, key of its lane, then its keys in Redis
              → 0, is counted, reply of the reserve | 1, reason, waitMs, reply or '' | 2, expectedMs
    l  leave  tickets → for each −1, or when it would have been served
    f  freed  [openMs or -1, band or 0, correction], flow, keys of the subjects
    p  pump   → how many calls of this gateway wait
    v  view   band, flow → for each call (waitedMs, position, expectedMs)

Output  when the next pump is due in ms, or −1; then the replies
Grants of calls that waited are published to the gateway that asked: the ticket's 12 bytes and the reply of its reserve.
]]
local SERVICE_GAIN, OVERTAKING_MAX, GATEWAY_LEASE_MS = 0.1, 4, 5000
local REASONS = { limited = 0, neverFits = 1, queueFull = 2 }
local gateway = ARGV[2]

-- The heads that a call would overtake if it went now, or nothing where one of them forbids it.
local function overtakenBy(ticket, flow, number, contest)
  local heads = {}
  if #contest.shared == 0 or room().waiting == 0 then return heads end
  local all = {}
  for _, other in ipairs(call('HVALS', ROOM .. 'n')) do all[other] = true end
  local owed = owedBand(all) ~= nil
  if ticket.band == 1 and not owed then return heads end
  local rivals = {}
  addRivals(rivals, number, contest)
  for rival in pairs(rivals) do
    local name, first = bestOf(rival)
    if name then
      local isAhead = owed or first.band < ticket.band or (first.band == ticket.band and flowOf(first).counter <= flow.counter)
      if isAhead then
        if not mayOvertake(ticket.band, flow, ticket.size, first) then return nil end
        heads[#heads + 1] = first.head
      end
    end
  end
  return heads
end

local function enter(at, arguments)
  local request, numbers, flowName, contestKey, key = ARGV[at], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3], ARGV[at + 4]
  local ticketName, keys = sub(request, 1, 12), {}
  for i = at + 5, at + arguments - 1 do keys[#keys + 1] = ARGV[i] end
  local band, weight, size, bytes, maxWaitMs, waitingMax, perFlowMax, bytesMax, bytesPerFlowMax, m1, m2, m3, m4 =
    unpackNumbers('<ddddddddddddd', numbers)
  local r = room()
  r.minShares = { m1, m2, m3, m4 }
  local verdict, waitMs, subject, reply
  -- The common case: nobody waits.
  if r.waiting == 0 then
    verdict, waitMs, subject, reply = attempt(ticketName, request, keys)
    if verdict == 0 then return { 0, 0, reply } end
  else
    useCall(ticketName, request, keys)
  end

  local ticket = { gateway = gateway, band = band, weight = weight, size = size, bytes = bytes, maxWaitMs = maxWaitMs,
    enteredMs = clockMs, overtakeLeft = OVERTAKING_MAX * size, request = request, keys = keys, needs = {},
    isShared = {}, sharedCharges = {}, sharedPlaces = {}, chargePlaces = {} }
  local shared, ownKeys, p, charges, neverFits = {}, {}, 7 + a[5], 0, false
  for i = 1, a[5] do
    local isShared = unpackNumbers('<d', numbers, 105 + 8 * (i - 1)) == 1
    ticket.isShared[i] = isShared and 1 or 0
    if isShared then shared[#shared + 1] = keys[i] else ownKeys[#ownKeys + 1] = keys[i] end
    ticket.sharedPlaces[i] = #shared
    for _ = 1, a[6 + i] do
      if isShared then charges = charges + 1 end
      ticket.needs[#ticket.needs + 1] = a[p + 5]
      if a[p] > 0 and a[p + 5] > a[p + 2] then neverFits = true end
      ticket.sharedCharges[#ticket.sharedCharges + 1] = isShared and charges or 0
      ticket.chargePlaces[#ticket.chargePlaces + 1] = isShared and #shared or 0
      p = p + 7
    end
  end
  local flow, flowKey = candidate(band, flowName, weight)
  local number, contest = contestFor(contestKey, shared, charges)
  local laneNumber = call('HGET', ROOM .. 'k', key)
  local lane = laneNumber and laneOf(laneNumber)

  if not lane and r.waiting > 0 then
    local heads = overtakenBy(ticket, flow, number, contest)
    if heads then
      verdict, waitMs, subject, reply = attempt(ticketName, request, keys)
      if verdict == 0 then
        for _, name in ipairs(heads) do
          local head = ticketOf(name)
          head.overtakeLeft = head.overtakeLeft - size
          keep('t:' .. name, head)
        end
        count(flowName, flowKey, flow, band, size)
        return { 0, 1, reply }
      end
    end
  end

  if not verdict and neverFits then verdict, waitMs, subject, reply = attempt(ticketName, request, keys) end
  if verdict == 2 then return { 1, REASONS.neverFits, 0, reply } end
  local ahead = aheadOf(ticket, flow.weight, contest, lane and lane.needs, lane and 0 or flow.weight, false)
  local expectedMs = waitBehind(ticketName, request, keys, ahead, contest.serviceMs)
  if expectedMs == 0 and verdict == 1 then expectedMs = waitMs < maxWaitMs and waitMs or maxWaitMs end
  local atLeast = expectedMs > 1 and expectedMs or 1
  if expectedMs > maxWaitMs or maxWaitMs == 0 then
    return { 1, REASONS.limited, format('%.17g', atLeast), reply or '' }
  end
  if r.waiting >= waitingMax or flow.waiting >= perFlowMax or r.bytes + bytes > bytesMax or flow.bytes + bytes > bytesPerFlowMax then
    return { 1, REASONS.queueFull, format('%.17g', atLeast), reply or '' }
  end
  if not lane then
    laneNumber, lane = openLane(key, flowName, flow, band, number, contest, ownKeys, #ticket.needs)
  end
  call('ZADD', ROOM .. 'g', score(clockMs + GATEWAY_LEASE_MS), gateway)
  touch('g')
  join(ticketName, ticket, laneNumber, lane, flow, flowKey)
  if size > r.sizeMax[band] then r.sizeMax[band] = size end
  if lane.calls == 1 then
    if verdict == 1 then
      blocked(laneNumber, lane, ticket, verdict, waitMs, subject)
    elseif contest.dueMs == 0 then
      setDue(number, contest, clockMs)
    end
  end
  return { 2, format('%.17g', expectedMs) }
end

-- All tickets of a lane, first to last.
local function namesIn(name, lane)
  local names = { lane.head }
  if lane.calls > 1 then
    for _, other in ipairs(call('LRANGE', ROOM .. 'q:' .. name, 0, -1)) do names[#names + 1] = other end
  end
  return names
end

-- Where a ticket stands in its lane, and what is charged before it there.
local function standingOf(ticketName, ticket, lane)
  local before, own = 0, {}
  for charge in ipairs(ticket.needs) do own[charge] = 0 end
  if lane.head ~= ticketName then
    for _, name in ipairs(namesIn(ticket.lane, lane)) do
      if name == ticketName then break end
      before = before + 1
      for charge, need in ipairs(ticketOf(name).needs) do own[charge] = own[charge] + need end
    end
  end
  local contest = contestOf(lane.contest)
  local flow = flowOf(lane)
  local ahead = aheadOf(ticket, flow.weight, contest, own, 0, true)
  local expectedMs = waitBehind(ticketName, ticket.request, ticket.keys, ahead, contest.serviceMs)
  return callsAhead(lane, flow.weight, contest, before) + 1, expectedMs
end

local function leaveOne(ticketName, ticket)
  local name = ticket.lane
  local lane = laneOf(name)
  local wasHead = lane.head == ticketName
  local contest = contestOf(lane.contest)
  local rivals = {}
  removeTicket(ticketName, ticket)
  if not wasHead then return end
  if lane.calls > 0 and lane.dueMs > 0 then wake(name, lane) end
  addRivals(rivals, lane.contest, contest)
  -- Those whom it held up may have held up others.
  dispatch(withRivals(rivals))
end

local function leave(at, arguments)
  local reply = {}
  for i = at, at + arguments - 1 do
    local ticketName = ARGV[i]
    local ticket = ticketOf(ticketName)
    if ticket then
      local _, expectedMs = standingOf(ticketName, ticket, laneOf(ticket.lane))
      reply[#reply + 1] = format('%.17g', expectedMs)
      leaveOne(ticketName, ticket)
    else
      reply[#reply + 1] = '-1'
    end
  end
  return reply
end

-- Contests over what was given back in this run: whoever is next is served when all of it is known.
local pending = {}
local function servePending()
  if not next(pending) then return end
  local contests = withRivals(pending)
  pending = {}
  dispatch(contests)
end

local function freed(at, arguments)
  local openMs, band, correction = unpackNumbers('<ddd', ARGV[at])
  local flowName = ARGV[at + 1]
  if band > 0 then
    local flowKey = 'f:' .. band .. ':' .. flowName
    local flow = load(flowKey)
    if flow then
      flow.unsettled = flow.unsettled - 1
      recount(flowName, flowKey, flow, band, correction)
    end
  end
  if room().waiting == 0 then return 0 end
  for i = at + 2, at + arguments - 1 do
    local key = ARGV[i]
    -- Mostly nobody sleeps.
    if zfirst('d') then
      for _, name in ipairs(call('SMEMBERS', ROOM .. 'y:' .. key)) do
        local lane = laneOf(name)
        wake(name, lane)
        pending[lane.contest] = true
      end
    end
    for _, number in ipairs(call('SMEMBERS', ROOM .. 's:' .. key)) do
      if openMs >= 0 then
        local contest = contestOf(number)
        contest.serviceMs = contest.serviceMs + (contest.serviceMs == 0 and 1 or SERVICE_GAIN) * (openMs - contest.serviceMs)
        keep('c:' .. number, contest)
      end
      pending[number] = true
    end
  end
  return 0
end

-- Serves whoever is due, and lets go of gateways that are not heard of any more.
local function pump()
  local contests, now = {}, score(clockMs)
  for _, name in ipairs(call('ZRANGEBYSCORE', ROOM .. 'd', '-inf', now)) do
    local lane = laneOf(name)
    wake(name, lane)
    contests[lane.contest] = true
  end
  for _, number in ipairs(call('ZRANGEBYSCORE', ROOM .. 'e', '-inf', now)) do
    local contest = contestOf(number)
    setDue(number, contest, 0)
    contests[number] = true
  end
  if next(contests) then dispatch(withRivals(contests)) end
end

-- Gateways that nobody listens for any more: their connections broke, so they go on under other names, or not at all. Those that listen at another node of a
-- cluster cannot be seen from here, and have names of another kind.
local function unheardGateways(gateways)
  local channels, names, unheard = {}, {}, {}
  for _, name in ipairs(gateways) do
    if sub(name, 1, 1) == 's' then
      names[#names + 1], channels[#channels + 1] = name, ROOM .. 'g:' .. name
    end
  end
  if #names == 0 then return unheard end
  local counts = redis.pcall('PUBSUB', 'NUMSUB', unpack(channels))
  -- Not every user of Redis may ask.
  if counts.err then return unheard end
  for i, name in ipairs(names) do
    if counts[2 * i] == 0 then unheard[#unheard + 1] = name end
  end
  return unheard
end

local function dropDeadGateways()
  local gateways, dead = {}, {}
  local listed = call('ZRANGE', ROOM .. 'g', 0, -1, 'WITHSCORES')
  for i = 1, #listed, 2 do
    if tonumber(listed[i + 1]) <= clockMs then dead[#dead + 1] = listed[i] else gateways[#gateways + 1] = listed[i] end
  end
  for _, name in ipairs(unheardGateways(gateways)) do dead[#dead + 1] = name end
  for _, dead in ipairs(dead) do
    for _, ticketName in ipairs(call('SMEMBERS', ROOM .. 'w:' .. dead)) do
      local ticket = ticketOf(ticketName)
      if ticket then leaveOne(ticketName, ticket) end
    end
    call('DEL', ROOM .. 'w:' .. dead)
    zdrop('g', dead)
  end
end

local function view(at)
  local band, flowName = tonumber(ARGV[at]), ARGV[at + 1]
  local flow, reply = load('f:' .. band .. ':' .. flowName), {}
  if not flow then return reply end
  for _, name in ipairs(flow.lanes) do
    local lane = laneOf(name)
    for _, ticketName in ipairs(namesIn(name, lane)) do
      local ticket = ticketOf(ticketName)
      local position, expectedMs = standingOf(ticketName, ticket, lane)
      reply[#reply + 1] = format('%.17g', clockMs - ticket.enteredMs)
      reply[#reply + 1] = format('%.17g', position)
      reply[#reply + 1] = format('%.17g', expectedMs)
    end
  end
  return reply
end

local replies, at = { 0 }, 3
if room().waiting > 0 then dropDeadGateways() end
while ARGV[at] do
  local letter, arguments = ARGV[at], tonumber(ARGV[at + 1])
  if letter ~= 'f' then servePending() end
  local reply
  if letter == 'e' then
    reply = enter(at + 2, arguments)
  elseif letter == 'f' then
    reply = freed(at + 2, arguments)
  elseif letter == 'l' then
    reply = leave(at + 2, arguments)
  elseif letter == 'v' then
    reply = view(at + 2)
  else
    pump()
    call('ZADD', ROOM .. 'g', 'XX', score(clockMs + GATEWAY_LEASE_MS), gateway)
    reply = call('SCARD', ROOM .. 'w:' .. gateway)
  end
  replies[#replies + 1] = reply
  at = at + 2 + arguments
end
servePending()
local nextMs = -1
if room().waiting > 0 then
  local _, laneMs = zfirst('d')
  local _, contestMs = zfirst('e')
  local dueMs = laneMs and contestMs and (laneMs < contestMs and laneMs or contestMs) or laneMs or contestMs
  if dueMs then nextMs = dueMs > clockMs and dueMs - clockMs or 0 end
end
saveAll()
replies[1] = format('%.0f', nextMs)
return replies
