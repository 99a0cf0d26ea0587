--[[
The reservations of a call's first subject: third part of the scripts that change them.
]]
local subjects = a[7]
local CHARGES = 9 + subjects
local states = {}
local firstValue
for i = 1, subjects do
  local s, value = load(KEYS[i])
  states[i] = s
  if i == 1 then firstValue = value end
end

-- Tombstones of the first subject, as they are saved again; nothing when there are none.
local tombstones
-- The call's own open reservation: where its record starts in `holder`, which is the first subject's state or the record's own key's numbers.
local record, holder = 0
-- What the caller finds: 'none', 'open' or 'closed'.
local standing = 'none'
local openCount = 0

local function dropRecord(s, at)
  remove(s, at, 5 + 3 * s[at + 4], 0)
end

local function blocksConcurrency(s, at)
  for hold = at + 6, at + 3 + 3 * s[at + 4], 3 do
    if s[hold] == -1 then return true end
  end
  return false
end

if firstValue then
  local s = states[1]
  local from = 8 * s[3] + 1
  if #firstValue >= from then
    tombstones = sub(firstValue, from)
    local at = find(tombstones, ARGV[2], 1, true)
    while at do
      -- The same bytes may also stand across two tombstones.
      if at % 16 == 1 then
        standing = 'closed'
        break
      end
      at = find(tombstones, ARGV[2], at + 1, true)
    end
  end
  local at = s[4]
  while at <= s[3] do
    if s[at + 1] == a[2] and s[at] == a[1] then
      if s[at + 2] > clockMs or blocksConcurrency(s, at) then
        standing, record, holder = 'open', at, s
        openCount = openCount + 1
        at = at + 5 + 3 * s[at + 4]
      else
        dropRecord(s, at)
      end
    elseif s[at + 2] > clockMs or (s[at + 2] + CLOSED_MEMORY_MS > clockMs and blocksConcurrency(s, at)) then
      openCount = openCount + 1
      at = at + 5 + 3 * s[at + 4]
    else
      dropRecord(s, at)
    end
  end
  if standing == 'none' and s[5] > clockMs then
    local value = call('GET', KEYS[subjects + 1])
    if value then
      holder = toNumbers(value, 1, #value / 8)
      if holder[4] == -1 then
        standing = 'closed'
      elseif holder[3] > clockMs or blocksConcurrency(holder, 1) then
        standing, record = 'open', 1
      end
    end
  end
end

local function saveOverflow(numbers, untilMs)
  local s = states[1]
  local keepMs = untilMs - clockMs + SLACK_MS
  call('SET', KEYS[subjects + 1], toBytes(numbers, 5 + 3 * numbers[5]), 'PX', format('%.0f', keepMs))
  if untilMs > s[5] then s[5] = untilMs end
end

local function saveFirst()
  local s = states[1]
  local untilMs = s[5]
  if tombstones and clockMs + CLOSED_MEMORY_MS > untilMs then untilMs = clockMs + CLOSED_MEMORY_MS end
  local at = s[4]
  while at <= s[3] do
    if s[at + 2] + CLOSED_MEMORY_MS > untilMs then untilMs = s[at + 2] + CLOSED_MEMORY_MS end
    at = at + 5 + 3 * s[at + 4]
  end
  save(KEYS[1], s, untilMs, tombstones)
end
