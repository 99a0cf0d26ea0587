--[[
src/core/fairness/contest.ts in Redis, function by function, over the records of room-records.lua.
]]

-- Those that wait for a moment.
local awaited = orderOf('e')
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

local function setDue(number, contest, dueMs)
  if contest.dueMs == dueMs then return end
  contest.dueMs = dueMs
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

-- Lists that are to be written at the end of the run.
local changedSharing = {}
local function setContestsOver(key, list)
  if #contestsOver(key) == 0 then room.shared = room.shared + 1 end
  if #list == 0 then room.shared = room.shared - 1 end
  sharing[key], changedSharing[key] = list, true
end

writeSharing = function()
  for key in pairs(changedSharing) do
    if #sharing[key] > 0 then
      call('HSET', ROOM .. 's', key, cmsgpack.pack(sharing[key]))
      touch('s')
    else
      call('HDEL', ROOM .. 's', key)
    end
  end
end

local contestFor
do
  -- The keys that a call shares, how many charges each has, and their limits.
  local function sharedBy(ticket)
    local a, shared, counts, limits = ticket.numbers, {}, {}, {}
    local p = 7 + a[5]
    for i = 1, a[5] do
      local charges = a[6 + i]
      if a[ticket.isSharedAt + i] == 1 then
        shared[#shared + 1], counts[#counts + 1] = ticket.keys[i], charges
        for at = p + 1, p + 7 * charges, 7 do limits[#limits + 1] = a[at] end
      end
      p = p + 7 * charges
    end
    return shared, counts, limits
  end

  contestFor = function(key, ticket)
    local number = numberOf[key]
    if number == nil then
      number = call('HGET', ROOM .. 'n', key)
      numberOf[key] = number
    end
    local known = number and contestOf(number)
    if known then return number, known end
    room.contests = room.contests + 1
    number = format('%.0f', room.contests)
    local shared, counts, limits = sharedBy(ticket)
    local contest = { key = key, shared = shared, counts = counts, limits = limits, least = {}, loads = {}, serviceMs = 0, dueMs = 0, lanes = 0, inLine = 0 }
    for band = 1, BANDS do
      local needs = {}
      for i = 1, #limits do needs[i] = 0 end
      contest.loads[band] = { calls = 0, weight = 0, needs = needs }
    end
    contests[number] = contest
    return number, contest
  end
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

-- Whether nobody of a contest fits while a call does not that asks for `needs` of `limits` under `key`: all ask for the same limits there, and for as much.
local function isBarredWith(contest, key, limits, needs)
  local first = 0
  for i, shared in ipairs(contest.shared) do
    local count = contest.counts[i]
    if shared == key then
      if count ~= #limits then return false end
      for j = 1, count do
        if contest.limits[first + j] ~= limits[j] or contest.least[first + j] < needs[j] then return false end
      end
      return true
    end
    first = first + count
  end
  return false
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

local firstOf
do
  -- So many are read of who is in line at least: when a flow is served, who is first changes wherever it waits.
  local READ_MIN = 8

  firstOf = function(number, band)
    local order = lineOf(number, band)
    if order.first > order.last and not order.isWhole then
      readOrder(order, foreseen > READ_MIN and foreseen or READ_MIN)
      if foreseen > 1 then foreseeLanes(order.members) end
    end
    local name = firstIn(order)
    return name and laneOf(name)
  end
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
