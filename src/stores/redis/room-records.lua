--[[
Who waits where: src/core/fairness/{places,contest,lane,service-order}.ts in Redis. Records are read once a run, changed in memory, and written at its
end. ROOM starts every key; all expire when nobody has touched them for longer than a call may wait.

    r                the room: waiting, bytes, sequence, contests, and by band (1 is the first): last, credit, sizeMax, sizeMin, inLine, flows, minShares
    f:BAND:FLOW      a flow: [counter, weight, waiting, bytes, unsettled], and its lanes, each [sequence, own, contest, weight, calls, dueMs, isInLine,
                     head, size, overtakeLeft, needs]: of the head what decides whose turn it is
    a:BAND           flows that wait, by counter
    q:SEQUENCE       a lane's tickets behind the head, first to last
    c:ID             a contest: key, shared, loads, serviceMs, dueMs, lanes
    n                contests by key
    s:KEY            contests over what is shared under KEY
    o:ID:BAND        lanes in line in a contest, by their flow's counter
    z:ID             the same of all bands, by the size of their head
    y:KEY            lanes that sleep until there is room under KEY, which is theirs alone
    d, e             lanes and contests by when they are due
    t:GATEWAY        its calls that wait, by the reservation's id in 12 bytes: [enteredMs, lane, the call, its keys]
    g                gateways with calls that wait, by when they are given up

A lane's name is its sequence in 12 digits, its band, and its flow; a ticket's is the reservation's id and its gateway.
]]
local BANDS = 4
-- Numbers of a lane in its flow's record.
local LANE_SIZE = 11

-- Larger than any call.
local NO_SIZE = 2 ^ 53

local room = storedRoom and cmsgpack.unpack(storedRoom) or { waiting = 0, bytes = 0, sequence = 0, contests = 0, last = { 0, 0, 0, 0 },
  credit = { 0, 0, 0, 0 }, sizeMax = { 0, 0, 0, 0 }, sizeMin = { NO_SIZE, NO_SIZE, NO_SIZE, NO_SIZE }, inLine = { 0, 0, 0, 0 }, flows = { 0, 0, 0, 0 }, minShares = { 0, 0, 0, 0 } }

-- Contests

local contests, changedContests = {}, {}
local function contestOf(number)
  local known = contests[number]
  if known == nil then
    local value = call('GET', ROOM .. 'c:' .. number)
    known = value and cmsgpack.unpack(value) or false
    contests[number] = known
  end
  return known
end

local function keepContest(number, contest) contests[number], changedContests[number] = contest, true end

-- Flows and their lanes

local flows, changedFlows, lanes, storedFlows = {}, {}, {}, {}

local function toFlow(key, band, name, value)
  local stored = cmsgpack.unpack(value)
  local flow = { key = key, band = band, name = name, counter = stored[1], weight = stored[2], waiting = stored[3], bytes = stored[4],
    unsettled = stored[5], lanes = {} }
  for at = 6, #stored, LANE_SIZE do
    local sequence = stored[at]
    local lane = { flow = flow, band = band, sequence = sequence, name = sequence .. band .. name, own = stored[at + 1], contest = stored[at + 2],
      weight = stored[at + 3], calls = stored[at + 4], dueMs = stored[at + 5], isInLine = stored[at + 6] == 1, head = stored[at + 7],
      size = stored[at + 8], overtakeLeft = stored[at + 9], needs = stored[at + 10] }
    flow.lanes[#flow.lanes + 1] = lane
    lanes[lane.name] = lane
  end
  return flow
end

local function toStoredFlow(flow)
  local stored, at = { flow.counter, flow.weight, flow.waiting, flow.bytes, flow.unsettled }, 5
  for _, lane in ipairs(flow.lanes) do
    stored[at + 1], stored[at + 2], stored[at + 3], stored[at + 4], stored[at + 5] = lane.sequence, lane.own, lane.contest, lane.weight, lane.calls
    stored[at + 6], stored[at + 7], stored[at + 8], stored[at + 9] = lane.dueMs, lane.isInLine and 1 or 0, lane.head, lane.size
    stored[at + 10], stored[at + 11] = lane.overtakeLeft, lane.needs
    at = at + LANE_SIZE
  end
  return cmsgpack.pack(stored)
end

local function flowKey(band, name) return 'f:' .. band .. ':' .. name end

-- Reads the flows of these keys that are not known yet.
local function foreseeFlows(keys)
  local unknown, names = {}, {}
  for _, key in ipairs(keys) do
    if flows[key] == nil and storedFlows[key] == nil then
      storedFlows[key] = false
      unknown[#unknown + 1], names[#names + 1] = key, ROOM .. key
    end
  end
  for from = 1, #unknown, ARGUMENTS_MAX do
    local to = from + ARGUMENTS_MAX - 1
    local values = call('MGET', spread(names, from, to < #names and to or #names))
    for i, value in ipairs(values) do storedFlows[unknown[from + i - 1]] = value end
  end
end

-- The flow as it is known, or false.
local function flowOf(band, name)
  local key = flowKey(band, name)
  local known = flows[key]
  if known == nil then
    local value = storedFlows[key]
    if value == nil then value = call('GET', ROOM .. key) end
    known = value and toFlow(key, band, name, value) or false
    flows[key] = known
  end
  return known
end

local function keepFlow(flow)
  local key = flow.key
  flows[key], changedFlows[key] = flow, true
end

local function laneOf(name)
  local known = lanes[name]
  if not known then
    flowOf(tonumber(sub(name, 13, 13)), sub(name, 14))
    known = lanes[name]
  end
  return known
end

-- Tickets

local tickets, newTickets, goneTickets, storedTickets = {}, {}, {}, {}
-- How many numbers stand at the end of a call for the room: see room.lua.
local ROOM_NUMBERS = 13

local function toTicket(name, enteredMs, lane, request, keys)
  local count = (#request - 12) / 8
  local numbers, at = unpackAll(DOUBLES, 1, 8, request, 13, count), count - ROOM_NUMBERS
  return { name = name, id = sub(name, 1, 12), gateway = sub(name, 13), enteredMs = enteredMs, lane = lane, request = request, keys = keys, numbers = numbers,
    isSharedAt = at - numbers[5], band = numbers[at + 1], weight = numbers[at + 2], size = numbers[at + 3], bytes = numbers[at + 4],
    maxWaitMs = numbers[at + 5] }
end

local function fromStored(name, value)
  local stored = cmsgpack.unpack(value)
  local keys = {}
  for i = 4, #stored do keys[i - 3] = stored[i] end
  return toTicket(name, stored[1], stored[2], stored[3], keys)
end

local function ticketOf(name)
  local known = tickets[name]
  if known == nil then
    local value = storedTickets[name]
    if value == nil then value = call('HGET', ROOM .. 't:' .. sub(name, 13), sub(name, 1, 12)) end
    known = value and fromStored(name, value) or false
    tickets[name] = known
  end
  return known
end

-- Reads these tickets together.
local function foreseeTickets(names)
  local byGateway = {}
  for _, name in ipairs(names) do
    if tickets[name] == nil and storedTickets[name] == nil then
      local gateway = sub(name, 13)
      local ids = byGateway[gateway]
      if not ids then
        ids = {}
        byGateway[gateway] = ids
      end
      ids[#ids + 1] = sub(name, 1, 12)
    end
  end
  for gateway, ids in pairs(byGateway) do
    for i, value in ipairs(call('HMGET', ROOM .. 't:' .. gateway, spread(ids))) do storedTickets[ids[i] .. gateway] = value end
  end
end

local function addTicket(ticket)
  tickets[ticket.name], newTickets[ticket.name] = ticket, ticket
end

local function dropTicket(ticket)
  local name = ticket.name
  tickets[name] = false
  if newTickets[name] then newTickets[name] = nil else goneTickets[name] = ticket end
end

local function writeTickets()
  local gone, new = {}, {}
  for _, ticket in pairs(goneTickets) do
    local list = gone[ticket.gateway] or {}
    gone[ticket.gateway] = list
    list[#list + 1] = ticket.id
  end
  for _, ticket in pairs(newTickets) do
    local list = new[ticket.gateway] or {}
    new[ticket.gateway] = list
    local size = #list
    list[size + 1], list[size + 2] = ticket.id, cmsgpack.pack({ ticket.enteredMs, ticket.lane, ticket.request, spread(ticket.keys) })
  end
  for gateway, ids in pairs(gone) do callWithAll('HDEL', 't:' .. gateway, ids) end
  for gateway, pairs_ in pairs(new) do
    callWithAll('HSET', 't:' .. gateway, pairs_)
    touch('t:' .. gateway)
  end
  newTickets, goneTickets = {}, {}
end

local function writeAll()
  for number in pairs(changedContests) do
    local contest = contests[number]
    if contest then call('SET', ROOM .. 'c:' .. number, cmsgpack.pack(contest), 'PX', KEEP_MS) else call('DEL', ROOM .. 'c:' .. number) end
  end
  for key in pairs(changedFlows) do call('SET', ROOM .. key, toStoredFlow(flows[key]), 'PX', KEEP_MS) end
  writeTickets()
  writeOrders()
  call('SET', ROOM .. 'r', cmsgpack.pack(room), 'PX', KEEP_MS)
end
