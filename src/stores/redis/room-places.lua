--[[
src/core/fairness/{places,contest,lane,service-order}.ts in Redis, function by function, over the records of room-records.lua.
]]

-- service-order.ts

local function floorOf(band)
  local _, counter = zfirst('a:' .. band)
  return counter or room.last[band]
end

-- Nothing is kept of it before it takes part.
local function candidate(band, name, weight)
  local known = flowOf(band, name)
  if known and known.waiting > 0 then
    if known.weight ~= weight then
      known.weight = weight
      keepFlow(known)
    end
    return known
  end
  local floorCounter = floorOf(band)
  local counter = known and known.counter or 0
  return { key = flowKey(band, name), band = band, name = name, counter = counter > floorCounter and counter or floorCounter, weight = weight,
    waiting = 0, bytes = 0, unsettled = known and known.unsettled or 0, lanes = {} }
end

-- contest.ts

local function setDue(number, contest, dueMs)
  if contest.dueMs == dueMs then return end
  contest.dueMs = dueMs
  keepContest(number, contest)
  if dueMs == 0 then zdrop('e', number) else zput('e', dueMs, number) end
end

-- By the key of a contest, and by what is shared: as long as no contest comes or goes.
local numbers, sharing = {}, {}

local function contestsOver(key)
  local known = sharing[key]
  if not known then
    known = call('SMEMBERS', ROOM .. 's:' .. key)
    sharing[key] = known
  end
  return known
end

local function contestFor(key, shared, charges)
  local number = numbers[key]
  if number == nil then
    number = call('HGET', ROOM .. 'n', key)
    numbers[key] = number
  end
  local known = number and contestOf(number)
  if known then return number, known end
  room.contests = room.contests + 1
  number = format('%.0f', room.contests)
  local contest = { key = key, shared = shared, loads = {}, serviceMs = 0, dueMs = 0, lanes = 0 }
  for band = 1, BANDS do
    local needs = {}
    for i = 1, charges do needs[i] = 0 end
    contest.loads[band] = { calls = 0, weight = 0, needs = needs }
  end
  contests[number] = contest
  return number, contest
end

-- Makes a contest that was only looked for one that others find.
local function openContest(number, contest)
  keepContest(number, contest)
  call('HSET', ROOM .. 'n', contest.key, number)
  touch('n')
  for _, key in ipairs(contest.shared) do
    call('SADD', ROOM .. 's:' .. key, number)
    touch('s:' .. key)
  end
  numbers, sharing = {}, {}
end

local function dropIdle(number, contest)
  if contest.lanes > 0 then return end
  keepContest(number, false)
  call('HDEL', ROOM .. 'n', contest.key)
  for _, key in ipairs(contest.shared) do call('SREM', ROOM .. 's:' .. key, number) end
  numbers, sharing = {}, {}
end

local function addRivals(set, number, contest)
  set[number] = true
  for _, key in ipairs(contest.shared) do
    for _, rival in ipairs(contestsOver(key)) do set[rival] = true end
  end
end

-- These contests and all over something that is contested in one of them too.
local function withRivals(of)
  local all, keys = {}, {}
  for number in pairs(of) do
    local contest = contestOf(number)
    all[number] = true
    for _, key in ipairs(contest and contest.shared or {}) do keys[key] = true end
  end
  for key in pairs(keys) do
    for _, rival in ipairs(contestsOver(key)) do all[rival] = true end
  end
  return all
end

-- How many of those who are next in line are read together: as many as places were given back in this run, and some who may overtake.
local foreseen = 1

-- Reads who stands in front of an order with all that decides over them.
local function foreseeLanes(names)
  local keys, heads = {}, {}
  for i, name in ipairs(names) do keys[i] = flowKey(sub(name, 13, 13), sub(name, 14)) end
  foreseeFlows(keys)
  for i, name in ipairs(names) do heads[i] = laneOf(name).head end
  foreseeTickets(heads)
end

local function firstOf(number, band)
  local key = 'o:' .. number .. ':' .. band
  local order = orders[key] or orderOf(key)
  if foreseen > 1 and order.first > order.last and not order.isWhole then
    readOrder(key, order, foreseen)
    foreseeLanes(order.members)
  end
  local name = zfirst(key)
  return name and laneOf(name)
end

local function bestOf(number)
  for band = 1, BANDS do
    if room.inLine[band] > 0 then
      local lane = firstOf(number, band)
      if lane then return lane end
    end
  end
end

local function isServedBefore(lane, other)
  if lane.band ~= other.band then return lane.band < other.band end
  local counter, otherCounter = lane.flow.counter, other.flow.counter
  if counter ~= otherCounter then return counter < otherCounter end
  return lane.sequence < other.sequence
end

-- lane.ts

local OVERTAKING_MAX = 4

local function setHead(lane, ticket)
  lane.head, lane.size, lane.overtakeLeft = ticket.name, ticket.size, OVERTAKING_MAX * ticket.size
end

local function mayOvertake(flow, size, firstLane)
  if size > firstLane.overtakeLeft then return false end
  if flow.band ~= firstLane.band then return true end
  local first = firstLane.flow
  return flow.counter + size / flow.weight <= first.counter + firstLane.size / first.weight
end

-- places.ts

local function orderLane(lane) zput('o:' .. lane.contest .. ':' .. lane.band, lane.flow.counter, lane.name) end

local function putInLine(lane)
  orderLane(lane)
  zput('z:' .. lane.contest, lane.size, lane.name)
end

local function line(lane)
  if not lane.isInLine then
    lane.isInLine = true
    keepFlow(lane.flow)
    room.inLine[lane.band] = room.inLine[lane.band] + 1
  end
  putInLine(lane)
end

local function unline(lane)
  if not lane.isInLine then return end
  lane.isInLine = false
  keepFlow(lane.flow)
  room.inLine[lane.band] = room.inLine[lane.band] - 1
  zdrop('o:' .. lane.contest .. ':' .. lane.band, lane.name)
  zdrop('z:' .. lane.contest, lane.name)
end

local function ownKeys(ticket)
  local keys = {}
  for i = 1, ticket.numbers[5] do
    if ticket.numbers[ticket.isSharedAt + i] == 0 then keys[#keys + 1] = ticket.keys[i] end
  end
  return keys
end

-- `ticket` is one of the lane's: all ask for the same limits.
local function forgetSleep(lane, ticket)
  if lane.dueMs == 0 then return end
  lane.dueMs = 0
  keepFlow(lane.flow)
  zdrop('d', lane.name)
  for _, key in ipairs(ownKeys(ticket)) do call('SREM', ROOM .. 'y:' .. key, lane.name) end
end

local function sleep(lane, ticket, untilMs)
  unline(lane)
  lane.dueMs = untilMs
  keepFlow(lane.flow)
  zput('d', untilMs, lane.name)
  for _, key in ipairs(ownKeys(ticket)) do
    call('SADD', ROOM .. 'y:' .. key, lane.name)
    touch('y:' .. key)
  end
end

local function wake(lane)
  if lane.dueMs == 0 then return end
  forgetSleep(lane, ticketOf(lane.head))
  line(lane)
end

local function chargesOf(a)
  local charges = 0
  for i = 1, a[5] do charges = charges + a[6 + i] end
  return charges
end

-- What the calls in front ask for, by charge.
local function addNeeds(sums, ticket)
  local a, charge = ticket.numbers, 0
  for i = 7 + a[5], 6 + a[5] + 7 * chargesOf(a), 7 do
    charge = charge + 1
    sums[charge] = (sums[charge] or 0) + a[i + 5]
  end
end

local function weigh(lane, ticket, sign)
  local contest, a = contestOf(lane.contest), ticket.numbers
  local load, needs, p, charge, shared = contest.loads[lane.band], lane.needs, 7 + a[5], 0, 0
  for i = 1, a[5] do
    local isShared = a[ticket.isSharedAt + i] == 1
    for _ = 1, a[6 + i] do
      charge = charge + 1
      local need = sign * a[p + 5]
      needs[charge] = (needs[charge] or 0) + need
      if isShared then
        shared = shared + 1
        load.needs[shared] = load.needs[shared] + need
      end
      p = p + 7
    end
  end
  load.calls = load.calls + sign
  keepContest(lane.contest, contest)
end

-- `own` is what its calls ask for of limits that are theirs alone.
local function laneIn(flow, number, own)
  for _, lane in ipairs(flow.lanes) do
    if lane.contest == number and lane.own == own then return lane end
  end
end

local function openLane(flow, number, contest, own)
  room.sequence = room.sequence + 1
  local sequence = format('%012d', room.sequence)
  local lane = { flow = flow, band = flow.band, sequence = sequence, name = sequence .. flow.band .. flow.name, own = own, contest = number,
    weight = flow.weight, calls = 0, dueMs = 0, isInLine = false, needs = {} }
  lanes[lane.name] = lane
  if contest.lanes == 0 then openContest(number, contest) end
  contest.lanes = contest.lanes + 1
  local load = contest.loads[flow.band]
  load.weight = load.weight + lane.weight
  flow.lanes[#flow.lanes + 1] = lane
  return lane
end

local function join(ticket, lane)
  local flow, band = lane.flow, lane.band
  ticket.lane = lane.name
  addTicket(ticket)
  if lane.calls > 0 then
    call('RPUSH', ROOM .. 'q:' .. lane.sequence, ticket.name)
    touch('q:' .. lane.sequence)
  end
  lane.calls = lane.calls + 1
  weigh(lane, ticket, 1)
  room.waiting = room.waiting + 1
  room.bytes = room.bytes + ticket.bytes
  flow.bytes = flow.bytes + ticket.bytes
  flow.waiting = flow.waiting + 1
  keepFlow(flow)
  if flow.waiting == 1 then
    room.flows[band] = room.flows[band] + 1
    zput('a:' .. band, flow.counter, flow.name)
  end
  if lane.calls == 1 then
    setHead(lane, ticket)
    line(lane)
  end
end

local function closeLane(lane, ticket)
  local flow, number = lane.flow, lane.contest
  local contest = contestOf(number)
  unline(lane)
  forgetSleep(lane, ticket)
  local load = contest.loads[lane.band]
  load.weight = load.weight - lane.weight
  contest.lanes = contest.lanes - 1
  keepContest(number, contest)
  for i, other in ipairs(flow.lanes) do
    if other == lane then table.remove(flow.lanes, i) break end
  end
  lanes[lane.name] = nil
  if not bestOf(number) then setDue(number, contest, 0) end
  dropIdle(number, contest)
end

local function removeTicket(ticket, lane)
  local flow, band = lane.flow, lane.band
  dropTicket(ticket)
  local isHead = lane.head == ticket.name
  if not isHead then call('LREM', ROOM .. 'q:' .. lane.sequence, 1, ticket.name) end
  lane.calls = lane.calls - 1
  weigh(lane, ticket, -1)
  room.waiting = room.waiting - 1
  room.bytes = room.bytes - ticket.bytes
  flow.bytes = flow.bytes - ticket.bytes
  flow.waiting = flow.waiting - 1
  keepFlow(flow)
  if flow.waiting == 0 then
    zdrop('a:' .. band, flow.name)
    room.flows[band] = room.flows[band] - 1
    if room.flows[band] == 0 then
      room.last[band] = flow.counter
      room.credit[band], room.sizeMax[band], room.sizeMin[band] = 0, 0, NO_SIZE
    end
  end
  if lane.calls == 0 then return closeLane(lane, ticket) end
  if not isHead then return end
  setHead(lane, ticketOf(call('LPOP', ROOM .. 'q:' .. lane.sequence)))
  if lane.isInLine then putInLine(lane) end
end

local function recount(flow, size)
  flow.counter = flow.counter + size / flow.weight
  keepFlow(flow)
  if flow.waiting > 0 then zput('a:' .. flow.band, flow.counter, flow.name) end
  for _, lane in ipairs(flow.lanes) do
    if lane.isInLine then orderLane(lane) end
  end
end
