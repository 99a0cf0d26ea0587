--[[
src/core/fairness/{places,lane,service-order}.ts in Redis, function by function, over the records of room-records.lua.
]]

-- Orders of the room: flows that wait, by band, and lanes that sleep.
local byCounter = {}
for band = 1, BANDS do byCounter[band] = orderOf('a:' .. BAND_NAMES[band]) end
local asleep = orderOf('d')

-- service-order.ts

local candidate
do
  local function floorOf(band)
    local _, counter = firstIn(byCounter[band])
    return counter or room.last[band]
  end

  -- Nothing is kept of it before it takes part.
  candidate = function(key, band, name, weight)
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
end

local function isServedBefore(lane, other)
  if lane.band ~= other.band then return lane.band < other.band end
  local counter, otherCounter = lane.flow.counter, other.flow.counter
  if counter ~= otherCounter then return counter < otherCounter end
  return lane.sequence < other.sequence
end

-- lane.ts

local function setHead(lane, ticket)
  local OVERTAKING_MAX = 4
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
  local needs, least, isSharedAt = load.needs, contest.least, ticket.isSharedAt
  for i = 1, a[5] do
    local charges = a[6 + i]
    if a[isSharedAt + i] == 1 then
      for at = p + 5, p + 7 * charges, 7 do
        shared = shared + 1
        needs[shared] = needs[shared] + sign * a[at]
        if not least[shared] or a[at] < least[shared] then least[shared] = a[at] end
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

local removeTicket
do
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

  removeTicket = function(ticket, lane)
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
end

local function recount(flow, size)
  flow.counter = flow.counter + size / flow.weight
  keepFlow(flow)
  if flow.waiting > 0 then putIn(byCounter[flow.band], flow.counter, flow.name) end
  for _, lane in ipairs(flow.lanes) do
    if lane.isInLine then orderLane(lane) end
  end
end
