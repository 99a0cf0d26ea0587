-- What the waiting room is seldom asked, so that it is made only then.

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
      addNeeds(own, ticketOf(name), 1)
    end
  end
  local contest = contestOf(lane.contest)
  local expectedMs = waitBehind(ticket, lane.flow.weight, contest, own, 0, true)
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

-- Of a gateway that is dead.
local function leaveAll(of)
  for _, ticketId in ipairs(call('HKEYS', ROOM .. 't:' .. of)) do
    local ticket = ticketOf(ticketId .. of)
    if ticket then leaveOne(ticket, laneOf(laneNameOf(ticket))) end
  end
end

local function leave(at)
  local ticket = ticketOf(ARGV[at + 1] .. gateway)
  if not ticket then return '-1' end
  local lane, expectedMs = laneOf(laneNameOf(ticket)), 0
  -- It takes a look at everyone in front of it.
  if ARGV[at] == '1' then
    local _
    _, expectedMs = standingOf(ticket, lane)
  end
  leaveOne(ticket, lane)
  return format('%.17g', expectedMs)
end

-- Takes who is due out of an order, one after the other.
local function due(order)
  local name, dueMs = firstIn(order)
  if name and dueMs <= clockMs then return name end
end

-- Serves whoever is due.
local function pump()
  local among = {}
  for name in due, asleep do
    local lane = laneOf(name)
    wake(lane)
    among[lane.contest] = true
  end
  for number in due, awaited do
    setDue(number, contestOf(number), 0)
    among[number] = true
  end
  if next(among) then dispatch(withRivals(among)) end
end

local function view(at)
  local band, flowName = tonumber(ARGV[at]), ARGV[at + 1]
  local flow, reply = flowOf(flowKey(band, flowName), band, flowName), {}
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

return { leave = leave, leaveAll = leaveAll, pump = pump, view = view }
