--[[
Loads the subjects of a call and looks for its reservation in the first: for calls that are not as common as the fast parts expect.
]]
-- An open reservation without its id and holds, and one hold: see subject-state.lua.
local RECORD, HOLD, RECORD_BYTES, HOLD_BYTES = '<I6i2B', '<I2I6d', 21, 16

local subjects, states, tails, opens
-- Of the first subject, as they are saved again.
local openRecords, tombstones
-- What the caller finds: 'none', 'open' or 'closed'. Where open: its last step, its expiry, and its holds (charge, slotName, held)*.
local standing, step, expiresMs, holds
-- Where it stands in `openRecords`, from and to; nothing where it has a key of its own.
local recordAt, recordEnd
local hasOverflow

local function readHolds(bytes, at)
  local list = {}
  for i = 0, byte(bytes, at + 20) - 1 do
    local charge, name, held = unpackNumbers(HOLD, bytes, at + RECORD_BYTES + HOLD_BYTES * i)
    list[3 * i + 1], list[3 * i + 2], list[3 * i + 3] = charge, name, held
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
  for i = 1, count do pieces[i + 1] = packNumbers(HOLD, list[3 * i - 2], list[3 * i - 1], list[3 * i]) end
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
  if not value then return end
  local tailAt
  states[i], tailAt, opens[i] = toState(value)
  tails[i] = sub(value, tailAt)
end

-- Loads what is stored about the call at hand.
local function lookUp()
  subjects, states, tails, opens = a[5], {}, {}, {}
  openRecords, tombstones, standing, hasOverflow = '', '', 'none', false
  step, expiresMs, holds, recordAt, recordEnd = nil, nil, nil, nil, nil
  useAlgorithms(KEYS[keysBefore + subjects + 2])
  for i = 1, subjects do loadSubject(i) end
  local s = states[1]
  if not s then return end
  openRecords, tombstones = sub(tails[1], 1, opens[1]), sub(tails[1], opens[1] + 1)
  lookThroughOpen()
  if standing == 'none' and isTombstone() then standing = 'closed' end
  if standing ~= 'none' or s[5] <= clockMs then return end
  local record = call('GET', KEYS[keysBefore + subjects + 1])
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
  call('SET', KEYS[keysBefore + subjects + 1], record, 'PX', format('%.0f', untilMs - clockMs + SLACK_MS))
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
    save(KEYS[keysBefore + 1], states[1], openRecords .. tombstones, #openRecords)
  else
    save(KEYS[keysBefore + i], states[i], tails[i] or '', opens[i] or 0)
  end
end
