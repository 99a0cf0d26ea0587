--[[
Who waits where: src/core/fairness/{places,contest,lane,service-order}.ts in Redis. Records are read once a run, changed in memory, and written at its
end; orders are sorted sets that are changed at once. ROOM starts every key; all expire when nobody has touched them for longer than a call may wait.

    r                the room: waiting, bytes, sequence, contests, and by band (1 is the first): last, credit, sizeMax, inLine, minShares
    f:BAND:FLOW      a flow: counter, weight, waiting, bytes, unsettled, lanes
    a:BAND           flows that wait, by counter
    l:SEQUENCE       a lane: key, flow, band, weight, contest, head, ownKeys, needs, dueMs, isInLine
    q:SEQUENCE       its tickets behind the head, first to last
    k                lanes by key
    c:ID             a contest: key, shared, loads, serviceMs, dueMs, lanes
    n                contests by key
    s:KEY            contests over what is shared under KEY
    o:ID:BAND        lanes in line in a contest, by their flow's counter
    z:ID             the same of all bands, by the size of their head
    y:KEY            lanes that sleep until there is room under KEY, which is theirs alone
    d, e             lanes and contests by when they are due
    t:TICKET         a call that waits; TICKET is its reservation's id in 12 bytes
    g                gateways with calls that wait, by when they are given up
    w:GATEWAY        their tickets
]]
local KEEP_MS = '7200000'
local BANDS = 4
local records, changed = {}, {}

local function load(key)
  local known = records[key]
  if known == nil then
    local value = call('GET', ROOM .. key)
    known = value and cmsgpack.unpack(value) or false
    records[key] = known
  end
  return known
end

local function keep(key, value)
  records[key], changed[key] = value, true
end

local function saveAll()
  for key in pairs(changed) do
    local value = records[key]
    if value then call('SET', ROOM .. key, cmsgpack.pack(value), 'PX', KEEP_MS) else call('DEL', ROOM .. key) end
  end
  changed = {}
end

local touched = {}
local function touch(key)
  if touched[key] then return end
  touched[key] = true
  call('PEXPIRE', ROOM .. key, KEEP_MS)
end

-- Scores keep every digit.
local function score(number) return format('%.17g', number) end
-- The first of an order, until it changes.
local firsts = {}
local NOBODY = {}
local function zput(key, number, member)
  call('ZADD', ROOM .. key, score(number), member)
  touch(key)
  firsts[key] = nil
end
local function zdrop(key, member)
  call('ZREM', ROOM .. key, member)
  firsts[key] = nil
end
local function zfirst(key)
  local known = firsts[key]
  if not known then
    local found = call('ZRANGE', ROOM .. key, 0, 0, 'WITHSCORES')
    known = found[1] and { found[1], tonumber(found[2]) } or NOBODY
    firsts[key] = known
  end
  return known[1], known[2]
end

local function room()
  local r = load('r')
  if not r then
    r = { waiting = 0, bytes = 0, sequence = 0, contests = 0, last = { 0, 0, 0, 0 }, credit = { 0, 0, 0, 0 },
      sizeMax = { 0, 0, 0, 0 }, inLine = { 0, 0, 0, 0 }, minShares = { 0, 0, 0, 0 } }
  end
  keep('r', r)
  return r
end

local function laneOf(sequence) return load('l:' .. sequence) end
local function contestOf(number) return load('c:' .. number) end
local function ticketOf(name) return load('t:' .. name) end
local function headOf(lane) return ticketOf(lane.head) end
local function flowOf(lane) return load('f:' .. lane.band .. ':' .. lane.flow) end

-- Lanes by the order in which they were made, also as text.
local function laneName(sequence) return format('%012d', sequence) end

-- service-order.ts

local function floorOf(band)
  local _, counter = zfirst('a:' .. band)
  return counter or room().last[band]
end

local function candidate(band, name, weight)
  local key = 'f:' .. band .. ':' .. name
  local known = load(key)
  if known and known.waiting > 0 then
    known.weight = weight
    keep(key, known)
    return known, key
  end
  local floorCounter = floorOf(band)
  local counter = known and known.counter or 0
  return { counter = counter > floorCounter and counter or floorCounter, weight = weight, waiting = 0, bytes = 0,
    unsettled = known and known.unsettled or 0, lanes = {} }, key
end

-- contest.ts

local function setDue(number, contest, dueMs)
  if contest.dueMs == dueMs then return end
  contest.dueMs = dueMs
  keep('c:' .. number, contest)
  if dueMs == 0 then zdrop('e', number) else zput('e', dueMs, number) end
end

local function contestFor(key, shared, charges)
  local number = call('HGET', ROOM .. 'n', key)
  if number then
    local known = contestOf(number)
    if known then return number, known end
  end
  local r = room()
  r.contests = r.contests + 1
  number = format('%.0f', r.contests)
  local contest = { key = key, shared = shared, loads = {}, serviceMs = 0, dueMs = 0, lanes = 0 }
  for band = 1, BANDS do
    local needs = {}
    for i = 1, charges do needs[i] = 0 end
    contest.loads[band] = { calls = 0, weight = 0, needs = needs }
  end
  records['c:' .. number] = contest
  return number, contest
end

-- Makes a contest that was only looked for one that others find.
local function openContest(number, contest)
  keep('c:' .. number, contest)
  call('HSET', ROOM .. 'n', contest.key, number)
  touch('n')
  for _, key in ipairs(contest.shared) do
    call('SADD', ROOM .. 's:' .. key, number)
    touch('s:' .. key)
  end
end

local function dropIdle(number, contest)
  if contest.lanes > 0 then return end
  keep('c:' .. number, false)
  call('HDEL', ROOM .. 'n', contest.key)
  for _, key in ipairs(contest.shared) do call('SREM', ROOM .. 's:' .. key, number) end
end

local function addRivals(set, number, contest)
  set[number] = true
  for _, key in ipairs(contest.shared) do
    for _, rival in ipairs(call('SMEMBERS', ROOM .. 's:' .. key)) do set[rival] = true end
  end
end

-- These contests and all over something that is contested in one of them too.
local function withRivals(contests)
  local all, keys = {}, {}
  for number in pairs(contests) do
    local contest = contestOf(number)
    all[number] = true
    for _, key in ipairs(contest and contest.shared or {}) do keys[key] = true end
  end
  for key in pairs(keys) do
    for _, rival in ipairs(call('SMEMBERS', ROOM .. 's:' .. key)) do all[rival] = true end
  end
  return all
end

local function firstOf(number, band)
  local name = zfirst('o:' .. number .. ':' .. band)
  if name then return name, laneOf(name) end
end

local function bestOf(number)
  for band = 1, BANDS do
    if room().inLine[band] > 0 then
      local name, lane = firstOf(number, band)
      if name then return name, lane end
    end
  end
end

local function isServedBefore(name, lane, otherName, other)
  if lane.band ~= other.band then return lane.band < other.band end
  local counter, otherCounter = flowOf(lane).counter, flowOf(other).counter
  if counter ~= otherCounter then return counter < otherCounter end
  return name < otherName
end

-- lane.ts

local function mayOvertake(band, flow, size, firstLane)
  local head = headOf(firstLane)
  if size > head.overtakeLeft then return false end
  if band ~= firstLane.band then return true end
  local first = flowOf(firstLane)
  return flow.counter + size / flow.weight <= first.counter + head.size / first.weight
end

-- places.ts

local function putInLine(name, lane)
  zput('o:' .. lane.contest .. ':' .. lane.band, flowOf(lane).counter, name)
  zput('z:' .. lane.contest, headOf(lane).size, name)
end

local function line(name, lane)
  if not lane.isInLine then
    lane.isInLine = true
    keep('l:' .. name, lane)
    local r = room()
    r.inLine[lane.band] = r.inLine[lane.band] + 1
  end
  putInLine(name, lane)
end

local function unline(name, lane)
  if not lane.isInLine then return end
  lane.isInLine = false
  keep('l:' .. name, lane)
  local r = room()
  r.inLine[lane.band] = r.inLine[lane.band] - 1
  zdrop('o:' .. lane.contest .. ':' .. lane.band, name)
  zdrop('z:' .. lane.contest, name)
end

local function forgetSleep(name, lane)
  if lane.dueMs == 0 then return end
  lane.dueMs = 0
  keep('l:' .. name, lane)
  zdrop('d', name)
  for _, key in ipairs(lane.ownKeys) do call('SREM', ROOM .. 'y:' .. key, name) end
end

local function sleep(name, lane, untilMs)
  unline(name, lane)
  lane.dueMs = untilMs
  keep('l:' .. name, lane)
  zput('d', untilMs, name)
  for _, key in ipairs(lane.ownKeys) do
    call('SADD', ROOM .. 'y:' .. key, name)
    touch('y:' .. key)
  end
end

local function wake(name, lane)
  if lane.dueMs == 0 then return end
  forgetSleep(name, lane)
  line(name, lane)
end

local function weigh(lane, ticket, sign)
  local contest = contestOf(lane.contest)
  local load_ = contest.loads[lane.band]
  for charge, need in ipairs(ticket.needs) do
    lane.needs[charge] = lane.needs[charge] + sign * need
    local shared = ticket.sharedCharges[charge]
    if shared > 0 then load_.needs[shared] = load_.needs[shared] + sign * need end
  end
  load_.calls = load_.calls + sign
  keep('c:' .. lane.contest, contest)
end

local function openLane(key, flowName, flow, band, number, contest, ownKeys, charges)
  local r = room()
  r.sequence = r.sequence + 1
  local name = laneName(r.sequence)
  local needs = {}
  for i = 1, charges do needs[i] = 0 end
  local lane = { key = key, flow = flowName, band = band, weight = flow.weight, contest = number, ownKeys = ownKeys,
    needs = needs, dueMs = 0, isInLine = false, calls = 0 }
  keep('l:' .. name, lane)
  call('HSET', ROOM .. 'k', key, name)
  touch('k')
  if contest.lanes == 0 then openContest(number, contest) end
  contest.lanes = contest.lanes + 1
  contest.loads[band].weight = contest.loads[band].weight + lane.weight
  keep('c:' .. number, contest)
  flow.lanes[#flow.lanes + 1] = name
  return name, lane
end

local function join(ticketName, ticket, name, lane, flow, flowKey)
  ticket.lane = name
  keep('t:' .. ticketName, ticket)
  if lane.calls > 0 then
    call('RPUSH', ROOM .. 'q:' .. name, ticketName)
    touch('q:' .. name)
  end
  lane.calls = lane.calls + 1
  weigh(lane, ticket, 1)
  local r = room()
  r.waiting = r.waiting + 1
  r.bytes = r.bytes + ticket.bytes
  flow.bytes = flow.bytes + ticket.bytes
  flow.waiting = flow.waiting + 1
  keep(flowKey, flow)
  if flow.waiting == 1 then zput('a:' .. lane.band, flow.counter, lane.flow) end
  keep('l:' .. name, lane)
  if lane.calls == 1 then
    lane.head = ticketName
    line(name, lane)
  end
  call('SADD', ROOM .. 'w:' .. ticket.gateway, ticketName)
  touch('w:' .. ticket.gateway)
end

local function removeTicket(ticketName, ticket)
  local name = ticket.lane
  local lane = laneOf(name)
  local flowKey = 'f:' .. lane.band .. ':' .. lane.flow
  local flow, r = load(flowKey), room()
  keep('t:' .. ticketName, false)
  call('SREM', ROOM .. 'w:' .. ticket.gateway, ticketName)
  if lane.head == ticketName then
    lane.head = lane.calls > 1 and call('LPOP', ROOM .. 'q:' .. name) or nil
  else
    call('LREM', ROOM .. 'q:' .. name, 1, ticketName)
  end
  lane.calls = lane.calls - 1
  weigh(lane, ticket, -1)
  r.waiting = r.waiting - 1
  r.bytes = r.bytes - ticket.bytes
  flow.bytes = flow.bytes - ticket.bytes
  flow.waiting = flow.waiting - 1
  keep(flowKey, flow)
  keep('l:' .. name, lane)
  if flow.waiting == 0 then
    zdrop('a:' .. lane.band, lane.flow)
    if not zfirst('a:' .. lane.band) then
      r.last[lane.band] = flow.counter
      r.credit[lane.band], r.sizeMax[lane.band] = 0, 0
    end
  end
  if lane.calls > 0 then
    if lane.isInLine then putInLine(name, lane) end
    return
  end
  unline(name, lane)
  forgetSleep(name, lane)
  local contest = contestOf(lane.contest)
  keep('l:' .. name, false)
  call('HDEL', ROOM .. 'k', lane.key)
  contest.loads[lane.band].weight = contest.loads[lane.band].weight - lane.weight
  contest.lanes = contest.lanes - 1
  keep('c:' .. lane.contest, contest)
  for i, other in ipairs(flow.lanes) do
    if other == name then table.remove(flow.lanes, i) break end
  end
  if not bestOf(lane.contest) then setDue(lane.contest, contest, 0) end
  dropIdle(lane.contest, contest)
end

local function recount(flowName, flowKey, flow, band, size)
  flow.counter = flow.counter + size / flow.weight
  keep(flowKey, flow)
  if flow.waiting > 0 then zput('a:' .. band, flow.counter, flowName) end
  for _, name in ipairs(flow.lanes) do
    local lane = laneOf(name)
    if lane.isInLine then zput('o:' .. lane.contest .. ':' .. band, flow.counter, name) end
  end
end
