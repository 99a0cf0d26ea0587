--[[
The waiting room: what is asked of src/core/fairness/waiting-room.ts, for all gateways on a store, function by function. A call waits here as a ticket; when its turn comes,
its limits are charged in the same run as its gateway is told.

KEYS    what starts every key of the room; all of them, and those of the calls, have the same hash tag
ARGV    for tests only the time in epoch ms, else empty; the gateway; then requests one after the other, each: its letter, how many
        arguments follow, and these:

    f  freed  [openMs or -1, band or 0, correction], flow, keys of the subjects
    e  enter  the reservation's id in 12 bytes, count (uint16) of the numbers that follow, those of subject-state.lua, and for the room [(is shared)*subjects,
              band, weight, size, bytes, maxWaitMs]; its flow and its keys in Redis (length: uint32, bytes)*;
              [waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, minShares*4, neverFits], key of its contest, what it asks
              for of limits that are its own
              → [0, is counted, reply of the reserve] | [1, reason, waitMs, reply or ''] | of a call that waits expectedMs and the room's generation, as doubles
    l  leave  1 or 0: whether the answer is wanted, ticket → −1 where it does not wait, else when it would have been served (0 where that is not wanted)
    p  pump   → [how many calls of this gateway wait, the room's generation]
    v  view   band, flow, max → how many calls wait; then for each of the first that came, at most max, (waitedMs, position, expectedMs)

Output  when the next pump is due in ms, or −1; then the replies
Grants of calls that waited are published to the gateways that asked, those of a run together: the room's generation (double), then of each the ticket's 12 bytes, how
long the reply of its reserve is (uint32), and that.
]]
local SERVICE_GAIN = 0.1
local REASONS = { limited = 0, neverFits = 1, queueFull = 2 }

local gateways = orderOf('g')
local enter, keepGateway
do
  -- All contests, which are only looked for where some priority may be owed.
  local all = {
    first = function(band)
      local among = {}
      for _, number in ipairs(call('HVALS', ROOM .. 'n')) do among[number] = true end
      return rankingOf(among).first(band)
    end,
  }

  -- The lanes whose heads a call would overtake if it went now, or nothing where one of them forbids it: mostly the first that is looked at.
  local function overtakenBy(ticket, flow, number, contest)
    local overtaken = {}
    if #contest.shared == 0 or room.waiting == 0 then return overtaken end
    local owed = owedIn(all) ~= nil
    if ticket.band == 1 and not owed then return overtaken end
    local seen, lists = {}, { { number } }
    for i, key in ipairs(contest.shared) do lists[i + 1] = contestsOver(key) end
    for _, rivals in ipairs(lists) do
      for _, rival in ipairs(rivals) do
        local first = not seen[rival] and bestOf(rival)
        seen[rival] = true
        if first then
          local isAhead = owed or first.band < ticket.band or (first.band == ticket.band and first.flow.counter <= flow.counter)
          if isAhead then
            if not mayOvertake(flow, ticket.size, first) then return nil end
            overtaken[#overtaken + 1] = first
          end
        end
      end
    end
    return overtaken
  end

  -- The bounds of calls that come together are mostly the same.
  local boundsText, waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, neverFits
  local function useBounds(text)
    if text == boundsText then return end
    local shares = room.minShares
    boundsText = text
    waitingMax, waitingPerFlowMax, bytesMax, bytesPerFlowMax, shares[1], shares[2], shares[3], shares[4], neverFits = unpackNumbers('<ddddddddd', text)
  end

  -- What waits of a caller, in whatever priority.
  local function waitingOf(flow)
    local waiting, bytes = flow.waiting, flow.bytes
    for band = 1, #BAND_NAMES do
      -- Where nobody waits in a priority, nothing of this caller does, and its record need not be read.
      local other = band ~= flow.band and room.flows[band] > 0 and flowOf(flowKey(band, flow.name), band, flow.name)
      if other then waiting, bytes = waiting + other.waiting, bytes + other.bytes end
    end
    return waiting, bytes
  end

  local function isFull(ticket, flow)
    if room.waiting >= waitingMax or room.bytes + ticket.bytes > bytesMax then return true end
    -- In a room that is nearly empty nobody can have too much.
    if room.waiting < waitingPerFlowMax and room.bytes + ticket.bytes <= bytesPerFlowMax then return false end
    local waiting, bytes = waitingOf(flow)
    return waiting >= waitingPerFlowMax or bytes + ticket.bytes > bytesPerFlowMax
  end

  local isGatewayKnown = false
  keepGateway = function()
    if isGatewayKnown then return end
    isGatewayKnown = true
    putIn(gateways, roomMs + GATEWAY_LEASE_MS, gateway)
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
      setDue(number, contest, roomMs)
    end
  end

  enter = function(at)
    local request = ARGV[at]
    local ticket = toTicket(sub(request, 1, 12) .. gateway, roomMs, nil, request)
    useBounds(ARGV[at + 1])
    local verdict, waitMs, subject, reply
    -- The common case: nobody waits.
    if room.waiting == 0 then
      verdict, waitMs, subject, reply = attempt(ticket)
      if verdict == 0 then return { 0, 0, reply } end
    end
    local flowName, own = ticket.flow, ARGV[at + 3]
    local flow = candidate(flowKey(ticket.band, flowName), ticket.band, flowName, ticket.weight)
    local number, contest = contestFor(ARGV[at + 2], ticket)
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
    if not verdict and neverFits == 1 then verdict, waitMs, subject, reply = attempt(ticket) end
    if verdict == 2 then return { 1, REASONS.neverFits, 0, reply } end
    local expectedMs = waitBehind(ticket, flow.weight, contest, lane and needsOf(lane), lane and 0 or flow.weight, false)
    local maxWaitMs = ticket.maxWaitMs
    if expectedMs == 0 and verdict == 1 then expectedMs = waitMs < maxWaitMs and waitMs or maxWaitMs end
    local atLeast = expectedMs > 1 and expectedMs or 1
    if expectedMs > maxWaitMs or maxWaitMs == 0 then
      return { 1, REASONS.limited, format('%.17g', atLeast), reply or '' }
    end
    if isFull(ticket, flow) then return { 1, REASONS.queueFull, format('%.17g', atLeast), reply or '' } end
    wait(ticket, flow, number, contest, lane, own, verdict, waitMs, subject)
    return packNumbers('<dd', expectedMs, room.generation)
  end
end

-- Contests over what was given back in this run, or with another head now, and the keys of these: whoever is next is served when all of it is known.
local pending, left = {}, {}
local function servePending()
  if not next(pending) then return end
  -- Those whom a head held up that has left may have held up others.
  for key in pairs(left) do
    for _, number in ipairs(contestsOver(key)) do pending[number] = true end
  end
  local among = withRivals(pending)
  pending, left = {}, {}
  dispatch(among)
end

local function freed(at, arguments)
  local openMs, band, correction = unpackNumbers('<ddd', ARGV[at])
  if band > 0 then
    local flowName = ARGV[at + 1]
    local flow = flowOf(flowKey(band, flowName), band, flowName)
    if flow then
      flow.unsettled = flow.unsettled - 1
      recount(flow, correction)
    end
  end
  if room.waiting == 0 then return 0 end
  -- Mostly nobody sleeps.
  local isAnybodyAsleep = firstIn(asleep)
  for i = at + 2, at + arguments - 1 do
    local key = ARGV[i]
    if isAnybodyAsleep then
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

-- So many calls of gateways that are dead leave in one run: about ten milliseconds.
local DROPPED_MAX = 256
local seldom
-- Whether there are more of them: until they have left, whoever is served might be dead.
local isDropping = false

local function dropDeadGateways()
  local alive, dead = {}, {}
  local listed = call('ZRANGE', ROOM .. 'g', 0, -1, 'WITHSCORES')
  for i = 1, #listed, 2 do
    local name = listed[i]
    if wasUnheard then putIn(gateways, roomMs + GATEWAY_LEASE_MS, name) end
    if wasUnheard or tonumber(listed[i + 1]) > roomMs then alive[#alive + 1] = name else dead[#dead + 1] = name end
  end
  for _, name in ipairs(unheardGateways(alive)) do dead[#dead + 1] = name end
  local most = DROPPED_MAX
  for _, name in ipairs(dead) do
    seldom = seldom or makeSeldom()
    local dropped, isAll = seldom.dropCallsOf(name, most, pending, left)
    most = most - dropped
    if isAll then dropFrom(gateways, name) else isDropping = true end
  end
  if isDropping then turnsLeft = 0 end
end

-- How many places are given back in this run.
local function placesFreed()
  local places, at = 0, 3
  while ARGV[at] do
    if ARGV[at] == 'f' then places = places + 1 end
    at = at + 2 + ARGV[at + 1]
  end
  return places
end

local function answer(letter, at, arguments)
  if letter == 'f' then return freed(at, arguments) end
  seldom = seldom or letter ~= 'e' and makeSeldom()
  if letter == 'l' then return seldom.leave(at, pending, left) end
  servePending()
  if letter == 'e' then return enter(at) end
  if letter == 'v' then return seldom.view(at) end
  seldom.pump()
  writeTickets()
  local waiting = call('HLEN', ROOM .. 't:' .. gateway)
  if waiting > 0 then keepGateway() end
  return { waiting, format('%.0f', room.generation) }
end

local function untilDue()
  if room.waiting == 0 then return -1 end
  if isDropping then return 0 end
  local _, laneMs = firstIn(asleep)
  local _, contestMs = firstIn(awaited)
  local dueMs = laneMs and contestMs and (laneMs < contestMs and laneMs or contestMs) or laneMs or contestMs
  if not dueMs then return -1 end
  return dueMs > roomMs and dueMs - roomMs or 0
end

local replies, at = { 0 }, 3
if room.waiting > 0 and ARGV[3] == 'f' then foreseen = placesFreed() + LOOKAHEAD + 1 end
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
for to, told in pairs(grants) do call('PUBLISH', ROOM .. 'g:' .. to, packNumbers('<d', room.generation) .. table.concat(told)) end
return replies
