-- Flows, lanes and calls as they are stored.

local BANDS = 4
-- To write a number costs more than to find it written.
local BAND_NAMES = { '1', '2', '3', '4' }
local flows, lanes = {}, {}
local addLane, fromStoredFlow, toStoredFlow, toTicket, fromStoredTicket, toStoredTicket
do
  -- counter, weight, waiting, bytes, unsettled.
  local FLOW = '<ddddd'
  -- These, and of the first lane weight, calls, dueMs, size and overtakeLeft of its head, isInLine, sequence, contest, own, head.
  local LANE = '<ddddddddddBc12I4c0I4c0I4c0'
  local FLOW_BYTES = 40

  addLane = function(flow, weight, calls, dueMs, size, overtakeLeft, isInLine, sequence, contest, own, head, needs)
    local band = flow.band
    local name = sequence .. BAND_NAMES[band] .. flow.name
    local lane = { flow = flow, band = band, sequence = sequence, name = name, own = own, contest = contest, weight = weight, calls = calls,
      dueMs = dueMs, isInLine = isInLine == 1, head = head, size = size, overtakeLeft = overtakeLeft, needs = needs }
    flow.lanes[#flow.lanes + 1], lanes[name] = lane, lane
    return lane
  end

  local function fromLane(lane)
    return lane.weight, lane.calls, lane.dueMs, lane.size, lane.overtakeLeft, lane.isInLine and 1 or 0, lane.sequence, lane.contest, lane.own, lane.head,
      lane.needs
  end

  fromStoredFlow = function(key, band, name, value)
    local hasLane = #value > FLOW_BYTES
    local counter, weight, waiting, bytes, unsettled, laneWeight, calls, dueMs, size, overtakeLeft, isInLine, sequence, contest, own, head, at =
      unpackNumbers(hasLane and LANE or FLOW, value)
    local flow = { key = key, band = band, name = name, counter = counter, weight = weight, waiting = waiting, bytes = bytes, unsettled = unsettled,
      lanes = {} }
    if not hasLane then return flow end
    local lane = addLane(flow, laneWeight, calls, dueMs, size, overtakeLeft, isInLine, sequence, contest, own, head)
    if at > #value then return flow end
    local needs, others = cmsgpack.unpack(sub(value, at))
    lane.needs = needs or nil
    for _, other in ipairs(others) do addLane(flow, spread(other, 1, 11)) end
    return flow
  end

  toStoredFlow = function(flow)
    local all = flow.lanes
    local lane = all[1]
    if not lane then return packNumbers(FLOW, flow.counter, flow.weight, flow.waiting, flow.bytes, flow.unsettled) end
    local contest, own, head = lane.contest, lane.own, lane.head
    local stored = packNumbers(LANE, flow.counter, flow.weight, flow.waiting, flow.bytes, flow.unsettled, lane.weight, lane.calls, lane.dueMs, lane.size,
      lane.overtakeLeft, lane.isInLine and 1 or 0, lane.sequence, #contest, contest, #own, own, #head, head)
    if not lane.needs and #all == 1 then return stored end
    local others = {}
    for i = 2, #all do others[i - 1] = { fromLane(all[i]) } end
    return stored .. cmsgpack.pack(lane.needs or false, others)
  end

  -- A call: its reservation's id in 12 bytes, how many numbers follow, those of subject-state.lua and the room's; then its flow, and its keys.
  local CALL_BYTES = 14
  -- How many of the numbers are the room's, besides one for each subject: see room.lua.
  local ROOM_NUMBERS = 5
  local STRINGS = '<I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0I4c0'
  -- Beyond, strings are read one after the other.
  local STRINGS_MAX = 16

  local function readStrings(bytes, at, count)
    if count <= STRINGS_MAX then return unpackNumbers(sub(STRINGS, 1, 1 + 4 * count), bytes, at) end
    local all = {}
    for i = 1, count do all[i], at = unpackNumbers('<I4c0', bytes, at) end
    return spread(all)
  end

  local function withStrings(ticket, flow, ...)
    ticket.flow, ticket.keys = flow, { ... }
    return ticket
  end

  -- `sequence` is its lane's, where it has one.
  toTicket = function(name, enteredMs, sequence, request)
    local count = unpackNumbers('<I2', request, CALL_BYTES - 1)
    local numbers, at = unpackAll(DOUBLES, 1, 8, request, CALL_BYTES + 1, count), count - ROOM_NUMBERS
    local ticket = { name = name, enteredMs = enteredMs, sequence = sequence, request = request, keys = false, flow = false, numbers = numbers,
      isSharedAt = at - numbers[5], band = numbers[at + 1], weight = numbers[at + 2], size = numbers[at + 3], bytes = numbers[at + 4],
      maxWaitMs = numbers[at + 5] }
    return withStrings(ticket, readStrings(request, CALL_BYTES + 1 + 8 * count, numbers[5] + (numbers[6] >= 4 and 2 or 1)))
  end

  -- enteredMs and the lane's sequence, in front of the call.
  local TICKET = '<dc12'
  local TICKET_BYTES = 20

  fromStoredTicket = function(name, value)
    local enteredMs, sequence = unpackNumbers(TICKET, value)
    return toTicket(name, enteredMs, sequence, sub(value, TICKET_BYTES + 1))
  end

  toStoredTicket = function(ticket) return packNumbers(TICKET, ticket.enteredMs, ticket.sequence) .. ticket.request end
end
