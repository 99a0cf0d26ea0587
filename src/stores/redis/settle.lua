--[[
Ends a reservation: settles (step 0), releases (step 1), or gives up what it blocks after it has expired (step 2).

KEYS    the subjects' values; the reservation's own key; the leases, where concurrency was asked for
ARGV    see subject-state.lua
Output  0 settled, 1 already, 2 unknown
]]
local mode = a[3]
local instance = a[1]

local function settleOne(s, p, name, held, used, nowMs)
  local entry = findEntry(s, a[p + 1])
  if entry == 0 then return end
  local algorithm = a[p]
  if algorithm == 1 then settleRolling(s, entry, name, held, used)
  elseif algorithm == 2 then settleBucket(s, entry, p, held, used, nowMs)
  elseif algorithm == 3 then settleCalendar(s, entry, name, held, used)
  else chargeConcurrency(s, p, instance, -held) end
end

-- `holds` from index `first` to `last`; of a reservation that is given up only what it blocks comes back.
local function settle(holds, first, last)
  local charge, p = 0, CHARGES
  followClock(states)
  for i = 1, subjects do
    local s = states[i]
    local count = a[8 + i]
    if not s then
      s = { 0, 0, 5, 6, 0 }
      states[i] = s
    end
    local nowMs = effectiveNow(s)
    for _ = 1, count do
      local open = a[p + 5]
      for at = first, last, 3 do
        if holds[at] == charge and (mode < 2 or holds[at + 1] == -1) then
          local held = holds[at + 2]
          local used = open < held and open or held
          open = open - used
          settleOne(s, p, holds[at + 1], held, used, nowMs)
        end
      end
      if open > 0 and a[p] ~= 4 then addTo(s, p, open, 0, nowMs) end
      charge = charge + 1
      p = p + 7
    end
    -- A state without a limit is only there to remember the reservation, and has no time of its own.
    if s[4] > 6 or s[1] > 0 then s[1] = nowMs end
  end
end

-- Remembers that the reservation is closed.
local function bury()
  local s = states[1]
  local untilMs = clockMs + CLOSED_MEMORY_MS
  if tombstones and #tombstones >= TOMBSTONES_BYTES_PRUNED then
    local live, size = 1, #tombstones
    while live < size and unpackNumbers('<I4', tombstones, live + 12) * 1000 <= clockMs do live = live + 16 end
    if live > 1 then tombstones = sub(tombstones, live) end
  end
  if tombstones and #tombstones >= TOMBSTONES_BYTES_MAX or (holder and holder ~= s) then
    saveOverflow({ a[1], a[2], untilMs, -1, 0 }, untilMs)
    return
  end
  local tombstone = ARGV[2] .. packNumbers('<I4', floor(untilMs / 1000) + 1)
  tombstones = tombstones and tombstones .. tombstone or tombstone
end

if standing == 'closed' then return 1 end
if mode == 2 and (standing == 'none' or holder[record + 2] > clockMs) then return 2 end

if standing == 'open' then
  local first, last = record + 5, record + 4 + 3 * holder[record + 4]
  local holds = holder
  if holder == states[1] then
    holds = {}
    for at = first, last do holds[at] = holder[at] end
    dropRecord(holder, record)
  elseif mode == 2 then
    call('DEL', KEYS[subjects + 1])
  end
  settle(holds, first, last)
elseif mode == 0 then
  settle(a, 1, 0)
elseif not states[1] then
  states[1] = { 0, 0, 5, 6, 0 }
end
if mode < 2 then bury() end

local isChanged = standing == 'open' or mode == 0
for i = 1, subjects do
  local s = states[i]
  if i == 1 then
    saveFirst()
  elseif isChanged and s[1] > 0 then
    save(KEYS[i], s, 0)
  end
end
return standing == 'open' and 0 or 2
