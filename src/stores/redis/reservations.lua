--[[
Loads the subjects of a call and looks for its reservation in the first: for calls that are not as common as the fast parts expect.
]]
local subjects, states, tails, opens
-- Of the first subject, as they are saved again.
local openRecords, tombstones
-- What the caller finds: 'none', 'open' or 'closed'. Where open: its last step, its expiry, and its holds (charge, slotName, held)*.
local standing, step, expiresMs, holds
-- Where it stands in `openRecords`, from and to; nothing where it has a key of its own.
local recordAt, recordEnd
local hasOverflow

local function overflowKey()
  local instance, sequence = unpackNumbers('<I6I6', id)
  local first = KEYS[keysBefore + 1]
  return sub(first, 1, find(first, '}', 1, true)) .. format('r:%.0f:%.0f', instance, sequence)
end

local function readHolds(bytes, at)
  local list, count = {}, byte(bytes, at + 20)
  local charges = at + RECORD_BYTES
  local names = charges + 2 * count
  local held = names + 6 * count
  for i = 0, count - 1 do
    list[3 * i + 1] = unpackNumbers('<I2', bytes, charges + 2 * i)
    list[3 * i + 2] = unpackNumbers('<I6', bytes, names + 6 * i)
    list[3 * i + 3] = unpackNumbers('<d', bytes, held + 8 * i)
  end
  return list
end

local function blocksConcurrency(list)
  for at = 2, #list, 3 do
    if list[at] == BLOCKS then return true end
  end
  return false
end

local function toRecord(atStep, untilMs, list)
  local count = #list / 3
  local pieces = { id .. packNumbers(RECORD, untilMs, atStep, count) }
  for i = 1, count do
    pieces[1 + i] = packNumbers('<I2', list[3 * i - 2])
    pieces[1 + count + i] = packNumbers('<I6', list[3 * i - 1])
    pieces[1 + 2 * count + i] = packNumbers('<d', list[3 * i])
  end
  return table.concat(pieces)
end

-- What an expired reservation blocks only comes back through settle.lua, so it stays for a while.
local function isGone(untilMs, list)
  return untilMs <= clockMs and not (untilMs + CLOSED_MEMORY_MS > clockMs and blocksConcurrency(list))
end

local function isTombstone()
  local at = find(tombstones, id, 1, true)
  -- The same bytes may also stand across two tombstones.
  while at and at % 16 ~= 1 do at = find(tombstones, id, at + 1, true) end
  return at ~= nil
end

-- Finds the call's own record, and drops those that have expired when there are many.
local function lookThroughOpen()
  local at, kept = 1, #openRecords > OPEN_BYTES_MAX and {} or nil
  while at <= #openRecords do
    local stop = at + RECORD_BYTES + HOLD_BYTES * byte(openRecords, at + 20)
    local isOwn = sub(openRecords, at, at + 11) == id
    if isOwn or kept then
      local untilMs, atStep = unpackNumbers(RECORD, openRecords, at + 12)
      local list = readHolds(openRecords, at)
      local gone = isGone(untilMs, list)
      if isOwn then
        recordAt, recordEnd = at, stop - 1
        if not gone then standing, step, expiresMs, holds = 'open', atStep, untilMs, list end
      elseif kept and not gone then
        kept[#kept + 1] = sub(openRecords, at, stop - 1)
      end
    end
    at = stop
  end
  if not kept then return end
  local own = recordAt and sub(openRecords, recordAt, recordEnd)
  openRecords = table.concat(kept)
  if own then
    recordAt, recordEnd = #openRecords + 1, #openRecords + #own
    openRecords = openRecords .. own
  end
end

local function loadSubject(i)
  local value = call('GET', KEYS[keysBefore + i])
  if value then
    states[i], tails[i], opens[i] = toState(value)
  end
end

-- Loads what is stored about the call at hand.
local function lookUp()
  subjects, states, tails, opens = a[5], {}, {}, {}
  openRecords, tombstones, standing, hasOverflow = '', '', 'none', false
  step, expiresMs, holds, recordAt, recordEnd = nil, nil, nil, nil, nil
  useAlgorithms(KEYS[keysBefore + subjects + 1])
  for i = 1, subjects do loadSubject(i) end
  local s = states[1]
  if not s then return end
  local tombstonesEnd = #tails[1] - opens[1]
  tombstones, openRecords = sub(tails[1], 1, tombstonesEnd), sub(tails[1], tombstonesEnd + 1)
  lookThroughOpen()
  if standing == 'none' and isTombstone() then standing = 'closed' end
  if standing ~= 'none' or s[5] <= clockMs then return end
  local record = call('GET', overflowKey())
  if not record then return end
  hasOverflow = true
  local untilMs, atStep = unpackNumbers(RECORD, record, 13)
  local list = readHolds(record, 1)
  if atStep == -1 then
    standing = 'closed'
  elseif not isGone(untilMs, list) then
    standing, step, expiresMs, holds = 'open', atStep, untilMs, list
  end
end

local function dropRecord()
  if not recordAt then return end
  openRecords = sub(openRecords, 1, recordAt - 1) .. sub(openRecords, recordEnd + 1)
  recordAt = nil
end

local function saveOverflow(record, untilMs)
  call('SET', overflowKey(), record, 'PX', format('%.0f', untilMs - clockMs + SLACK_MS))
  local s = states[1]
  if untilMs > s[5] then s[5] = untilMs end
end

-- Keeps the call's reservation with what it holds now.
local function saveRecord(atStep, untilMs, list)
  local record = toRecord(atStep, untilMs, list)
  dropRecord()
  -- What it blocks comes back through a call that comes after the expiry.
  local keptMs = untilMs + CLOSED_MEMORY_MS
  if hasOverflow or #openRecords > OPEN_BYTES_MAX then
    saveOverflow(record, keptMs)
    return
  end
  local s = states[1]
  if openRecords == '' or keptMs > s[4] then s[4] = keptMs end
  openRecords = openRecords .. record
end

local function saveSubject(i)
  if i == 1 then
    save(KEYS[keysBefore + 1], states[1], tombstones .. openRecords, #openRecords)
  else
    save(KEYS[keysBefore + i], states[i], tails[i] or '', opens[i] or 0)
  end
end
