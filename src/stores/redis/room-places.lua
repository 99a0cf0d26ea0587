--[[
src/core/fairness/{places,contest,lane,service-order}.ts in Redis, function by function, over the records of room-records.lua.
]]

-- Orders of the room: flows that wait, by band, and who sleeps or waits for a moment.
local byCounter = {}
for band = 1, BANDS do byCounter[band] = orderOf('a:' .. BAND_NAMES[band]) end
local asleep, awaited = orderOf('d'), orderOf('e')
-- Of contests: who is in line, by band, and the same by the size of their head.
local lines, bySize = {}, {}

local function lineOf(number, band)
  local bands = lines[number]
  if not bands then
    bands = {}
    lines[number], bySize[number] = bands, orderOf('z:' .. number)
  end
  local order = bands[band]
  if not order then
    order = orderOf('o:' .. number .. ':' .. BAND_NAMES[band])
    bands[band] = order
  end
  return order
end

-- service-order.ts

local function floorOf(band)
  local _, counter = firstIn(byCounter[band])
  return counter or room.last[band]
end

-- Nothing is kept of it before it takes part.
local function candidate(key, band, name, weight)
  local known = flowOf(key, band, name)
  if known and known.waiting > 0 then
    if known.weight ~= weight then
      known.weight = weight
      keepFlow(known)
    end
    return known
  end
  local floorCounter = floorOf(band)
  local counter = known and known.counter or 0
  return { key = key, band = band, name = name, counter = counter > floorCounter and counter or floorCounter, weight = weight,
    waiting = 0, bytes = 0, unsettled = known and known.unsettled or 0, lanes = {} }
end

-- contest.ts

local function setDue(number, contest, dueMs)
  if contest.dueMs == dueMs then return end
  contest.dueMs = dueMs
  keepContest(number, contest)
  if dueMs == 0 then dropFrom(awaited, number) else putIn(awaited, dueMs, number) end
end

local NONE = {}
local numberOf, sharing, isSharingRead = {}, {}, false

local function contestsOver(key)
  local known = sharing[key]
  if known then return known end
  if isSharingRead then return NONE end
  -- Contests by key, and by what is shared: read at once where they are few.
  local SHARED_FEW = 64
  if room.shared <= SHARED_FEW then
    isSharingRead = true
    local all = call('HGETALL', ROOM .. 's')
    for i = 1, #all, 2 do sharing[all[i]] = cmsgpack.unpack(all[i + 1]) end
    return sharing[key] or NONE
  end
  local value = call('HGET', ROOM .. 's', key)
  known = value and cmsgpack.unpack(value) or NONE
  sharing[key] = known
  return known
end

local function setContestsOver(key, list)
  if #contestsOver(key) == 0 then room.shared = room.shared + 1 end
  sharing[key] = list
  if #list > 0 then
    call('HSET', ROOM .. 's', key, cmsgpack.pack(list))
    touch('s')
  else
    call('HDEL', ROOM .. 's', key)
    room.shared = room.shared - 1
  end
end

-- The keys that a call shares, and how many charges these have.
local function sharedBy(ticket)
  local a, shared, charges = ticket.numbers, {}, 0
  for i = 1, a[5] do
    if a[ticket.isSharedAt + i] == 1 then
      shared[#shared + 1] = ticket.keys[i]
      charges = charges + a[6 + i]
    end
  end
  return shared, charges
end

local function contestFor(key, ticket)
  local number = numberOf[key]
  if number == nil then
    number = call('HGET', ROOM .. 'n', key)
    numberOf[key] = number
  end
  local known = number and contestOf(number)
  if known then return number, known end
  room.contests = room.contests + 1
  number = format('%.0f', room.contests)
  local shared, charges = sharedBy(ticket)
  local contest = { key = key, shared = shared, loads = {}, serviceMs = 0, dueMs = 0, lanes = 0, inLine = 0 }
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
  numberOf[contest.key] = number
  for _, key in ipairs(contest.shared) do
    local list = { number }
    for _, other in ipairs(contestsOver(key)) do list[#list + 1] = other end
    setContestsOver(key, list)
  end
end

local function dropIdle(number, contest)
  if contest.lanes > 0 then return end
  keepContest(number, false)
  call('HDEL', ROOM .. 'n', contest.key)
  numberOf[contest.key] = false
  for _, key in ipairs(contest.shared) do
    local list = {}
    for _, other in ipairs(contestsOver(key)) do
      if other ~= number then list[#list + 1] = other end
    end
    setContestsOver(key, list)
  end
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
    for _, key in ipairs(contest and contest.shared or NONE) do keys[key] = true end
  end
  for key in pairs(keys) do
    for _, rival in ipairs(contestsOver(key)) do all[rival] = true end
  end
  return all
end

-- How many of those who are next in line are read together: as many as places were given back in this run, and some who may overtake.
local foreseen = 1

-- Reads these lanes with all that decides over them.
local function foreseeLanes(names)
  local keys, heads = {}, {}
  for i, name in ipairs(names) do keys[i] = flowKey(tonumber(sub(name, 13, 13)), sub(name, 14)) end
  foreseeFlows(keys)
  for i, name in ipairs(names) do heads[i] = laneOf(name).head end
  foreseeTickets(heads)
end

local function firstOf(number, band)
  local order = lineOf(number, band)
  if order.first > order.last and not order.isWhole then
    readOrder(order, foreseen)
    if foreseen > 1 then foreseeLanes(order.members) end
  end
  local name = firstIn(order)
  return name and laneOf(name)
end

local function bestOf(number)
  local inLine = room.inLine
  for band = 1, BANDS do
    if inLine[band] > 0 then
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

local function orderLane(lane) putIn(lineOf(lane.contest, lane.band), lane.flow.counter, lane.name) end

local function putInLine(lane)
  orderLane(lane)
  putIn(bySize[lane.contest], lane.size, lane.name)
end

local function countInLine(number, change)
  local contest = contestOf(number)
  contest.inLine = contest.inLine + change
  keepContest(number, contest)
end

local function line(lane)
  if not lane.isInLine then
    lane.isInLine = true
    keepFlow(lane.flow)
    room.inLine[lane.band] = room.inLine[lane.band] + 1
    countInLine(lane.contest, 1)
  end
  putInLine(lane)
end

local function unline(lane)
  if not lane.isInLine then return end
  lane.isInLine = false
  keepFlow(lane.flow)
  room.inLine[lane.band] = room.inLine[lane.band] - 1
  countInLine(lane.contest, -1)
  dropFrom(lineOf(lane.contest, lane.band), lane.name)
  dropFrom(bySize[lane.contest], lane.name)
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
  dropFrom(asleep, lane.name)
  for _, key in ipairs(ownKeys(ticket)) do call('SREM', ROOM .. 'y:' .. key, lane.name) end
end

local function sleep(lane, ticket, untilMs)
  unline(lane)
  lane.dueMs = untilMs
  keepFlow(lane.flow)
  putIn(asleep, untilMs, lane.name)
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

-- Adds what a call asks for, by charge.
local function addNeeds(sums, ticket, sign)
  local a, charge = ticket.numbers, 0
  local p = 7 + a[5]
  for i = 1, a[5] do
    for _ = 1, a[6 + i] do
      charge = charge + 1
      sums[charge] = (sums[charge] or 0) + sign * a[p + 5]
      p = p + 7
    end
  end
  return sums
end

-- What a lane's calls ask for in sum.
local function needsOf(lane) return lane.needs or addNeeds({}, ticketOf(lane.head), 1) end

local function weigh(lane, ticket, sign)
  local contest, a, p, shared = contestOf(lane.contest), ticket.numbers, 7 + ticket.numbers[5], 0
  local load = contest.loads[lane.band]
  local needs, isSharedAt = load.needs, ticket.isSharedAt
  for i = 1, a[5] do
    local charges = a[6 + i]
    if a[isSharedAt + i] == 1 then
      for at = p + 5, p + 7 * charges, 7 do
        shared = shared + 1
        needs[shared] = needs[shared] + sign * a[at]
      end
    end
    p = p + 7 * charges
  end
  load.calls = load.calls + sign
  keepContest(lane.contest, contest)
  if lane.needs then addNeeds(lane.needs, ticket, sign) end
end

-- `own` is what its calls ask for of limits that are theirs alone.
local function laneIn(flow, number, own)
  for _, lane in ipairs(flow.lanes) do
    if lane.contest == number and lane.own == own then return lane end
  end
end

local function openLane(flow, number, contest, own)
  room.sequence = room.sequence + 1
  if contest.lanes == 0 then openContest(number, contest) end
  contest.lanes = contest.lanes + 1
  local load = contest.loads[flow.band]
  load.weight = load.weight + flow.weight
  return addLane(flow, flow.weight, 0, 0, 0, 0, 0, format('%012d', room.sequence), number, own)
end

local function join(ticket, lane)
  local flow, band = lane.flow, lane.band
  ticket.sequence = lane.sequence
  addTicket(ticket)
  if lane.calls > 0 then
    lane.needs = needsOf(lane)
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
    putIn(byCounter[band], flow.counter, flow.name)
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
  if contest.inLine == 0 then setDue(number, contest, 0) end
  dropIdle(number, contest)
end

local function removeTicket(ticket, lane)
  local flow, band = lane.flow, lane.band
  dropTicket(ticket.name)
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
    dropFrom(byCounter[band], flow.name)
    room.flows[band] = room.flows[band] - 1
    if room.flows[band] == 0 then
      room.last[band] = flow.counter
      room.credit[band], room.sizeMax[band], room.sizeMin[band] = 0, 0, NO_SIZE
    end
  end
  if lane.calls == 0 then return closeLane(lane, ticket) end
  if lane.calls == 1 then lane.needs = nil end
  if not isHead then return end
  setHead(lane, ticketOf(call('LPOP', ROOM .. 'q:' .. lane.sequence)))
  if lane.isInLine then putInLine(lane) end
end

local function recount(flow, size)
  flow.counter = flow.counter + size / flow.weight
  keepFlow(flow)
  if flow.waiting > 0 then putIn(byCounter[flow.band], flow.counter, flow.name) end
  for _, lane in ipairs(flow.lanes) do
    if lane.isInLine then orderLane(lane) end
  end
end
