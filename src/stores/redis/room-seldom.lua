-- What the waiting room is seldom asked, so that it is made only then.

-- The tickets of a lane, first to last; at most `max` where that is given.
local function namesIn(lane, max)
  local names = { lane.head }
  if lane.calls > 1 and max ~= 1 then
    for _, other in ipairs(call('LRANGE', ROOM .. 'q:' .. lane.sequence, 0, max and max - 2 or -1)) do names[#names + 1] = other end
  end
  return names
end

-- How many calls are served up to this one, and how long that takes. In its own lane `before` are in front of it, which need `own`, by charge.
local function lookAt(ticket, lane, before, own)
  local contest = contestOf(lane.contest)
  local expectedMs = waitBehind(ticket, lane.flow.weight, contest, own, 0, true)
  return callsAhead(lane, contest, before) + 1, expectedMs
end

-- Where a ticket stands: looks at everyone in front of it in its lane.
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
  return lookAt(ticket, lane, before, own)
end

-- The contests and the keys where somebody may be next now are added to `changed` and `left`.
local function leaveOne(ticket, lane, changed, left)
  local wasHead, contest = lane.head == ticket.name, contestOf(lane.contest)
  removeTicket(ticket, lane)
  if not wasHead then return end
  if lane.calls > 0 and lane.dueMs > 0 then wake(lane) end
  changed[lane.contest] = true
  for _, key in ipairs(contest.shared) do left[key] = true end
end

-- Takes out calls of a gateway that is dead, at most `max`. How many, and whether these were all.
local function dropCallsOf(of, max, changed, left)
  local names = call('HKEYS', ROOM .. 't:' .. of)
  local count = #names < max and #names or max
  for i = 1, count do names[i] = names[i] .. of end
  foreseeTickets({ spread(names, 1, count) })
  for i = 1, count do
    local ticket = ticketOf(names[i])
    leaveOne(ticket, laneOf(laneNameOf(ticket)), changed, left)
  end
  return count, count == #names
end

local function leave(at, changed, left)
  local ticket = ticketOf(ARGV[at + 1] .. gateway)
  if not ticket then return '-1' end
  local lane, expectedMs = laneOf(laneNameOf(ticket)), 0
  -- It takes a look at everyone in front of it.
  if ARGV[at] == '1' then
    local _
    _, expectedMs = standingOf(ticket, lane)
  end
  leaveOne(ticket, lane, changed, left)
  return format('%.17g', expectedMs)
end

-- Takes who is due out of an order, one after the other.
local function due(order)
  local name, dueMs = firstIn(order)
  if name and dueMs <= roomMs then return name end
end

-- Serves whoever is due.
local function pump()
  local among, woken = {}, 0
  for name in due, asleep do
    if woken == TURNS_MAX then break end
    woken = woken + 1
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

-- core/fairness/standing.ts: of these lanes the one whose next call came first.
local function firstCame(walks)
  local first
  for _, walk in ipairs(walks) do
    local ticket = walk.next
    -- Older lanes come first.
    if ticket and (not first or ticket.enteredMs < first.next.enteredMs) then first = walk end
  end
  return first
end

-- Goes on to the next call of a lane. `left` are still to be looked at, so that no more of it is read.
local function advance(walk, left)
  addNeeds(walk.own, walk.next, 1)
  walk.before = walk.before + 1
  if not walk.names then
    walk.names = namesIn(walk.lane, left + 1)
    foreseeTickets(walk.names)
  end
  local name = walk.names[walk.before + 1]
  walk.next = name and ticketOf(name)
end

local function view(at)
  local band, flowName, left = tonumber(ARGV[at]), ARGV[at + 1], tonumber(ARGV[at + 2])
  local flow = flowOf(flowKey(band, flowName), band, flowName)
  if not flow then return { 0 } end
  local reply, heads, walks = { flow.waiting }, {}, {}
  for i, lane in ipairs(flow.lanes) do heads[i] = lane.head end
  foreseeTickets(heads)
  for i, lane in ipairs(flow.lanes) do walks[i] = { lane = lane, next = ticketOf(lane.head), before = 0, own = {} } end
  while left > 0 do
    local walk = firstCame(walks)
    if not walk then break end
    local position, expectedMs = lookAt(walk.next, walk.lane, walk.before, walk.own)
    reply[#reply + 1] = format('%.17g', roomMs - walk.next.enteredMs)
    reply[#reply + 1] = format('%.17g', position)
    reply[#reply + 1] = format('%.17g', expectedMs)
    left = left - 1
    if left > 0 then advance(walk, left) end
  end
  return reply
end

return { leave = leave, dropCallsOf = dropCallsOf, pump = pump, view = view }
