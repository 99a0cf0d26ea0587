--[[
The waiting room: what is asked of src/core/fairness/waiting-room.ts, for all gateways on a store, function by function. A call waits here as a ticket; when its turn comes,
its limits are charged in the same run as its gateway is told.

KEYS    what starts every key of the room; all of them, and those of the calls, have the same hash tag
ARGV    for tests only the time in epoch ms, else empty; the gateway; then requests one after the other, each: its letter, how many
        arguments follow, and these:

    f  freed  [openMs or -1, band or 0, correction], flow, keys of the subjects
    e  enter  the call (subject-state.lua), behind its numbers those for the room: [(is shared)*subjects, band, weight, size, bytes, maxWaitMs,
              waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, minShares*4], flow, key of its contest, what it asks for of limits
              that are its own, then its keys in Redis
              → 0, is counted, reply of the reserve | 1, reason, waitMs, reply or '' | 2, expectedMs
    l  leave  tickets → for each −1, or when it would have been served
    p  pump   → how many calls of this gateway wait
    v  view   band, flow → for each call (waitedMs, position, expectedMs)

Output  when the next pump is due in ms, or −1; then the replies
Grants of calls that waited are published to the gateways that asked, those of a run together: of each the ticket's 12 bytes, how long the reply of its reserve is
(uint32), and that.
]]
local SERVICE_GAIN, GATEWAY_LEASE_MS = 0.1, 5000
local REASONS = { limited = 0, neverFits = 1, queueFull = 2 }
local gateway = ARGV[2]

local function allContests()
  local all = {}
  for _, number in ipairs(call('HVALS', ROOM .. 'n')) do all[number] = true end
  return all
end

-- The lanes whose heads a call would overtake if it went now, or nothing where one of them forbids it.
local function overtakenBy(ticket, flow, number, contest)
  local overtaken = {}
  if #contest.shared == 0 or room.waiting == 0 then return overtaken end
  local owed = owedBand(allContests) ~= nil
  if ticket.band == 1 and not owed then return overtaken end
  local rivals = {}
  addRivals(rivals, number, contest)
  for rival in pairs(rivals) do
    local first = bestOf(rival)
    if first then
      local isAhead = owed or first.band < ticket.band or (first.band == ticket.band and first.flow.counter <= flow.counter)
      if isAhead then
        if not mayOvertake(flow, ticket.size, first) then return nil end
        overtaken[#overtaken + 1] = first
      end
    end
  end
  return overtaken
end

-- The keys that a call shares, how many charges these have, and whether it asks for more than a limit ever has.
local function asksOf(ticket)
  local a, shared, charges, neverFits = ticket.numbers, {}, 0, false
  local p = 7 + a[5]
  for i = 1, a[5] do
    if isShared(ticket, i) then
      shared[#shared + 1] = ticket.keys[i]
      charges = charges + a[6 + i]
    end
    for _ = 1, a[6 + i] do
      if a[p] > 0 and a[p + 5] > a[p + 2] then neverFits = true end
      p = p + 7
    end
  end
  return shared, charges, neverFits
end

local function isFull(ticket, flow)
  local a, at = ticket.numbers, ticket.isSharedAt + ticket.numbers[5]
  return room.waiting >= a[at + 6] or flow.waiting >= a[at + 7] or room.bytes + ticket.bytes > a[at + 8] or flow.bytes + ticket.bytes > a[at + 9]
end

local isGatewayKnown = false
local function keepGateway()
  if isGatewayKnown then return end
  isGatewayKnown = true
  zput('g', clockMs + GATEWAY_LEASE_MS, gateway)
end

-- The call comes to wait. `verdict` and what follows where its limits were asked.
local function wait(ticket, flow, number, contest, lane, own, verdict, waitMs, subject)
  lane = lane or openLane(flow, number, contest, own)
  keepGateway()
  join(ticket, lane)
  joined(ticket.band, ticket.size)
  if lane.calls > 1 then return end
  if verdict == 1 then
    blocked(lane, ticket, verdict, waitMs, subject)
  elseif contest.dueMs == 0 then
    setDue(number, contest, clockMs)
  end
end

local function enter(ticket, flowName, contestKey, own)
  local a, at = ticket.numbers, ticket.isSharedAt + ticket.numbers[5]
  for band = 1, BANDS do room.minShares[band] = a[at + 9 + band] end
  local verdict, waitMs, subject, reply
  -- The common case: nobody waits.
  if room.waiting == 0 then
    verdict, waitMs, subject, reply = attempt(ticket)
    if verdict == 0 then return { 0, 0, reply } end
  end
  local shared, charges, neverFits = asksOf(ticket)
  local flow = candidate(ticket.band, flowName, ticket.weight)
  local number, contest = contestFor(contestKey, shared, charges)
  local lane = laneIn(flow, number, own)
  if not lane and room.waiting > 0 then
    local overtaken = overtakenBy(ticket, flow, number, contest)
    if overtaken then
      verdict, waitMs, subject, reply = attempt(ticket)
      if verdict == 0 then
        for _, first in ipairs(overtaken) do
          first.overtakeLeft = first.overtakeLeft - ticket.size
          keepFlow(first.flow)
        end
        count(flow, ticket.size)
        return { 0, 1, reply }
      end
    end
  end
  if not verdict and neverFits then verdict, waitMs, subject, reply = attempt(ticket) end
  if verdict == 2 then return { 1, REASONS.neverFits, 0, reply } end
  local ahead = aheadOf(ticket, flow.weight, contest, lane and lane.needs, lane and 0 or flow.weight, false)
  local expectedMs, maxWaitMs = waitBehind(ticket, ahead, contest.serviceMs), ticket.maxWaitMs
  if expectedMs == 0 and verdict == 1 then expectedMs = waitMs < maxWaitMs and waitMs or maxWaitMs end
  local atLeast = expectedMs > 1 and expectedMs or 1
  if expectedMs > maxWaitMs or maxWaitMs == 0 then
    return { 1, REASONS.limited, format('%.17g', atLeast), reply or '' }
  end
  if isFull(ticket, flow) then return { 1, REASONS.queueFull, format('%.17g', atLeast), reply or '' } end
  wait(ticket, flow, number, contest, lane, own, verdict, waitMs, subject)
  return { 2, format('%.17g', expectedMs) }
end

-- All tickets of a lane, first to last.
local function namesIn(lane)
  local names = { lane.head }
  if lane.calls > 1 then
    for _, other in ipairs(call('LRANGE', ROOM .. 'q:' .. lane.sequence, 0, -1)) do names[#names + 1] = other end
  end
  return names
end

-- Where a ticket stands in its lane, and what is charged before it there.
local function standingOf(ticket, lane)
  local before, own = 0, {}
  if lane.head ~= ticket.name then
    local names = namesIn(lane)
    foreseeTickets(names)
    for _, name in ipairs(names) do
      if name == ticket.name then break end
      before = before + 1
      addNeeds(own, ticketOf(name))
    end
  end
  local contest = contestOf(lane.contest)
  local ahead = aheadOf(ticket, lane.flow.weight, contest, own, 0, true)
  local expectedMs = waitBehind(ticket, ahead, contest.serviceMs)
  return callsAhead(lane, contest, before) + 1, expectedMs
end

local function leaveOne(ticket, lane)
  local wasHead, number, contest = lane.head == ticket.name, lane.contest, contestOf(lane.contest)
  local rivals = {}
  removeTicket(ticket, lane)
  if not wasHead then return end
  if lane.calls > 0 and lane.dueMs > 0 then wake(lane) end
  addRivals(rivals, number, contest)
  -- Those whom it held up may have held up others.
  dispatch(withRivals(rivals))
end

local function leave(at, arguments)
  local reply = {}
  for i = at, at + arguments - 1 do
    local ticket = ticketOf(ARGV[i] .. gateway)
    if ticket then
      local lane = laneOf(ticket.lane)
      local _, expectedMs = standingOf(ticket, lane)
      reply[#reply + 1] = format('%.17g', expectedMs)
      leaveOne(ticket, lane)
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
  local among = withRivals(pending)
  pending = {}
  dispatch(among)
end

local function freed(at, arguments)
  local openMs, band, correction = unpackNumbers('<ddd', ARGV[at])
  if band > 0 then
    local flow = flowOf(band, ARGV[at + 1])
    if flow then
      flow.unsettled = flow.unsettled - 1
      recount(flow, correction)
    end
  end
  if room.waiting == 0 then return 0 end
  for i = at + 2, at + arguments - 1 do
    local key = ARGV[i]
    -- Mostly nobody sleeps.
    if zfirst('d') then
      for _, name in ipairs(call('SMEMBERS', ROOM .. 'y:' .. key)) do
        local lane = laneOf(name)
        wake(lane)
        pending[lane.contest] = true
      end
    end
    for _, number in ipairs(contestsOver(key)) do
      if openMs >= 0 then
        local contest = contestOf(number)
        contest.serviceMs = contest.serviceMs + (contest.serviceMs == 0 and 1 or SERVICE_GAIN) * (openMs - contest.serviceMs)
        keepContest(number, contest)
      end
      pending[number] = true
    end
  end
  return 0
end

-- Takes who is due out of an order, one after the other.
local function due(key)
  local name, dueMs = zfirst(key)
  if name and dueMs <= clockMs then return name end
end

-- Serves whoever is due.
local function pump()
  local among = {}
  for name in due, 'd' do
    local lane = laneOf(name)
    wake(lane)
    among[lane.contest] = true
  end
  for number in due, 'e' do
    setDue(number, contestOf(number), 0)
    among[number] = true
  end
  if next(among) then dispatch(withRivals(among)) end
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
    for _, ticketId in ipairs(call('HKEYS', ROOM .. 't:' .. dead)) do
      local ticket = ticketOf(ticketId .. dead)
      if ticket then leaveOne(ticket, laneOf(ticket.lane)) end
    end
    zdrop('g', dead)
  end
end

local function view(at)
  local band, flowName = tonumber(ARGV[at]), ARGV[at + 1]
  local flow, reply = flowOf(band, flowName), {}
  if not flow then return reply end
  for _, lane in ipairs(flow.lanes) do
    local names = namesIn(lane)
    foreseeTickets(names)
    for _, name in ipairs(names) do
      local ticket = ticketOf(name)
      local position, expectedMs = standingOf(ticket, lane)
      reply[#reply + 1] = format('%.17g', clockMs - ticket.enteredMs)
      reply[#reply + 1] = format('%.17g', position)
      reply[#reply + 1] = format('%.17g', expectedMs)
    end
  end
  return reply
end

-- Tickets of calls that enter, by where their request starts in ARGV.
local entering = {}

-- Reads together what the requests are about.
local function foresee()
  local flowKeys, subjectKeys, isKnown, at, places = {}, {}, {}, 3, 0
  while ARGV[at] do
    local letter, arguments = ARGV[at], tonumber(ARGV[at + 1])
    if letter == 'e' then
      local request, keys = ARGV[at + 2], {}
      for i = at + 6, at + 1 + arguments do keys[#keys + 1] = ARGV[i] end
      local ticket = toTicket(sub(request, 1, 12) .. gateway, clockMs, nil, request, keys)
      entering[at] = ticket
      flowKeys[#flowKeys + 1] = flowKey(ticket.band, ARGV[at + 3])
    elseif letter == 'f' then
      local _, band = unpackNumbers('<dd', ARGV[at + 2])
      places = places + 1
      if band > 0 then flowKeys[#flowKeys + 1] = flowKey(band, ARGV[at + 3]) end
    end
    at = at + 2 + arguments
  end
  foreseeFlows(flowKeys)
  if places > 0 then foreseen = places + LOOKAHEAD + 1 end
end

local function answer(letter, at, arguments)
  if letter == 'f' then return freed(at, arguments) end
  servePending()
  if letter == 'e' then return enter(entering[at - 2], ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]) end
  if letter == 'l' then return leave(at, arguments) end
  if letter == 'v' then return view(at) end
  pump()
  writeTickets()
  local waiting = call('HLEN', ROOM .. 't:' .. gateway)
  if waiting > 0 then keepGateway() end
  return waiting
end

local function untilDue()
  if room.waiting == 0 then return -1 end
  local _, laneMs = zfirst('d')
  local _, contestMs = zfirst('e')
  local dueMs = laneMs and contestMs and (laneMs < contestMs and laneMs or contestMs) or laneMs or contestMs
  if not dueMs then return -1 end
  return dueMs > clockMs and dueMs - clockMs or 0
end

local replies, at = { 0 }, 3
foresee()
if room.waiting > 0 then dropDeadGateways() end
while ARGV[at] do
  local arguments = tonumber(ARGV[at + 1])
  replies[#replies + 1] = answer(ARGV[at], at + 2, arguments)
  at = at + 2 + arguments
end
servePending()
replies[1] = format('%.0f', untilDue())
if writeSubjects then writeSubjects() end
writeAll()
for to, told in pairs(grants) do call('PUBLISH', ROOM .. 'g:' .. to, table.concat(told)) end
return replies
