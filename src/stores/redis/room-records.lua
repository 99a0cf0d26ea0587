--[[
Who waits where: src/core/fairness/{places,contest,lane,service-order}.ts in Redis. Records are read once a run, changed in memory, and written at its
end. ROOM starts every key; all expire when nobody has touched them for longer than a call may wait.

    r                the room: generation, waiting, bytes, sequence, contests, lastMs (of the clock), aheadMs (of it), and by band (1 is the first): last, credit, sizeMax, sizeMin, inLine, flows, minShares
    f:BAND:FLOW      a flow, see room-codec.lua; its first lane, with what decides whose turn it is; then (MessagePack) what several calls of it
                     need in sum, and other lanes
    a:BAND           flows that wait, by counter
    q:SEQUENCE       a lane's tickets behind the head, first to last
    c:ID             a contest: key, shared, counts, limits, least, loads, serviceMs, dueMs, lanes, inLine
    n                contests by key
    s                contests over what is shared, by its key: [ID]*
    o:ID:BAND        lanes in line in a contest, by their flow's counter
    z:ID             the same of all bands, by the size of their head
    y:KEY            lanes that sleep until there is room under KEY, which is theirs alone
    d, e             lanes and contests by when they are due
    t:GATEWAY        its calls that wait, by the reservation's id in 12 bytes: enteredMs, sequence of the lane, the call
    g                gateways with calls that wait, by when they are given up

A lane's name is its sequence in 12 digits, its band, and its flow; a ticket's is the reservation's id and its gateway.
]]

-- Larger than any call.
local NO_SIZE = 2 ^ 53

-- Its generation tells one beginning of the room from another: what waited before is lost.
local function newRoom()
  local time = call('TIME')
  return { generation = time[1] * 1000000 + time[2], waiting = 0, bytes = 0, sequence = 0, contests = 0, shared = 0, lastMs = 0, aheadMs = 0,
    last = { 0, 0, 0, 0 }, credit = { 0, 0, 0, 0 }, sizeMax = { 0, 0, 0, 0 }, sizeMin = { NO_SIZE, NO_SIZE, NO_SIZE, NO_SIZE }, inLine = { 0, 0, 0, 0 },
    flows = { 0, 0, 0, 0 }, minShares = { 0, 0, 0, 0 } }
end

local room = storedRoom and cmsgpack.unpack(storedRoom) or newRoom()

-- Contests

-- `storedDues` is what is stored of when they are due: it changes often, and mostly back.
local contests, changedContests, storedDues = {}, {}, {}
local function contestOf(number)
  local known = contests[number]
  if known == nil then
    local value = call('GET', ROOM .. 'c:' .. number)
    known = value and cmsgpack.unpack(value) or false
    contests[number] = known
    storedDues[number] = known and known.dueMs
  end
  return known
end

local function keepContest(number, contest) contests[number], changedContests[number] = contest, true end

-- Flows and their lanes

local changedFlows = {}

local function flowKey(band, name) return 'f:' .. BAND_NAMES[band] .. ':' .. name end

-- Reads the flows of these keys together.
local function foreseeFlows(keys)
  local unknown, names = {}, {}
  for _, key in ipairs(keys) do
    if flows[key] == nil then
      flows[key] = false
      unknown[#unknown + 1], names[#names + 1] = key, ROOM .. key
    end
  end
  if #unknown == 0 then return end
  for i, value in ipairs(call('MGET', spread(names))) do
    local key = unknown[i]
    if value then flows[key] = fromStoredFlow(key, tonumber(sub(key, 3, 3)), sub(key, 5), value) end
  end
end

-- The flow as it is known, or false.
local function flowOf(key, band, name)
  local known = flows[key]
  if known == nil then
    local value = call('GET', ROOM .. key)
    known = value and fromStoredFlow(key, band, name, value) or false
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
    local band, flow = tonumber(sub(name, 13, 13)), sub(name, 14)
    flowOf(flowKey(band, flow), band, flow)
    known = lanes[name]
  end
  return known
end

-- Tickets

local tickets, newTickets, goneTickets, storedTickets = {}, {}, {}, {}
local function laneNameOf(ticket) return ticket.sequence .. BAND_NAMES[ticket.band] .. ticket.flow end

local function idIn(name) return sub(name, 1, 12) end
local function gatewayIn(name) return sub(name, 13) end

local function ticketOf(name)
  local known = tickets[name]
  if known == nil then
    local value = storedTickets[name]
    if value == nil then value = call('HGET', ROOM .. 't:' .. gatewayIn(name), idIn(name)) end
    known = value and fromStoredTicket(name, value) or false
    tickets[name] = known
  end
  return known
end

-- Reads these tickets together.
local function foreseeTickets(names)
  local byGateway = {}
  for _, name in ipairs(names) do
    if tickets[name] == nil and storedTickets[name] == nil then
      local gateway = gatewayIn(name)
      local ids = byGateway[gateway]
      if not ids then
        ids = {}
        byGateway[gateway] = ids
      end
      ids[#ids + 1] = idIn(name)
    end
  end
  for gateway, ids in pairs(byGateway) do
    -- Lua passes some 8,000 arguments at most, and a line may be longer.
    for from = 0, #ids - 1, 1000 do
      local values = call('HMGET', ROOM .. 't:' .. gateway, spread(ids, from + 1, from + 1000 < #ids and from + 1000 or #ids))
      for i, value in ipairs(values) do storedTickets[ids[from + i] .. gateway] = value end
    end
  end
end

local function addTicket(ticket)
  tickets[ticket.name], newTickets[ticket.name] = ticket, ticket
end

local function dropTicket(name)
  tickets[name] = false
  if newTickets[name] then newTickets[name] = nil else goneTickets[name] = true end
end

local function listOf(lists, key)
  local list = lists[key]
  if not list then
    list = {}
    lists[key] = list
  end
  return list
end

local function writeTickets()
  local gone, new = {}, {}
  for name in pairs(goneTickets) do
    local list = listOf(gone, gatewayIn(name))
    list[#list + 1] = idIn(name)
  end
  for name, ticket in pairs(newTickets) do
    local list = listOf(new, gatewayIn(name))
    local size = #list
    list[size + 1], list[size + 2] = idIn(name), toStoredTicket(ticket)
  end
  for of, ids in pairs(gone) do callWithAll('HDEL', 't:' .. of, ids) end
  for of, values in pairs(new) do
    callWithAll('HSET', 't:' .. of, values)
    touch('t:' .. of)
  end
  newTickets, goneTickets = {}, {}
end

-- See room-contests.lua.
local writeSharing
local function writeAll()
  for number, dueMs in pairs(storedDues) do
    if contests[number] and contests[number].dueMs ~= dueMs then changedContests[number] = true end
  end
  for number in pairs(changedContests) do
    local contest = contests[number]
    if contest then call('SET', ROOM .. 'c:' .. number, cmsgpack.pack(contest), 'PX', KEEP_MS) else call('DEL', ROOM .. 'c:' .. number) end
  end
  for key in pairs(changedFlows) do call('SET', ROOM .. key, toStoredFlow(flows[key]), 'PX', KEEP_MS) end
  writeTickets()
  writeSharing()
  writeOrders()
  call('SET', ROOM .. 'r', cmsgpack.pack(room), 'PX', KEEP_MS)
end
