--[[
The common settle in one pass: of a reservation that is open, was never extended, and is over rolling windows only. It reads of a value what it must,
and copies the rest. When it meets anything else, it gives up with nothing, and settle.lua begins again from what is stored; so it writes only
once everything is known.
]]
-- Filled anew by every call.
local values, keepTexts, pieces, patches = {}, {}, {}, {}
local recordLayouts = {}

-- The subject at hand. Its value, as it will be, is the first `size` of `pieces`, and what stands from `copied` on with the first `patched` of `patches` (place,
-- bytes): changes of older sub-windows, which stand behind all entries.
local value, nowMs, nowBytes, expiresMs, headBytes, size, copied, patched
-- The reservation: its record (until when, step, how many holds; then of each the charge, the sub-window's name, the amount), and the next hold in it.
local record, holds, nextHold

-- Where the reservation's record is among the open ones, which stand from `openAt` on; mostly it is the first.
local function findRecord(openAt, openBytes)
  if openBytes == 0 then return end
  if sub(value, openAt, openAt + 11) == id then return openAt end
  if openBytes > OPEN_BYTES_MAX then return end
  local at = openAt
  repeat
    at = at + RECORD_BYTES + HOLD_BYTES * byte(value, at + 20)
    if at > #value then return end
  until sub(value, at, at + 11) == id
  return at
end

-- Reads the record at `at`. Whether it is a common one: it may have expired or been extended.
local function readRecord(at)
  holds, nextHold = byte(value, at + 20), 1
  if holds > FAST_HOLDS_MAX then return false end
  local layout = recordLayouts[holds]
  if not layout then
    layout = '<I6i2B' .. string.rep('I2', holds) .. string.rep('I6', holds) .. string.rep('d', holds)
    recordLayouts[holds] = layout
  end
  record = { unpackNumbers(layout, value, at + 12) }
  return record[1] > clockMs and record[2] == 0
end

-- Puts what counts now (`held`, `used`) into the newest sub-window, which began at `startMs`; `rest` of it was not held, and is charged now. Whether the sub-window can
-- take that.
local function changeNewest(p, entry, startMs, lastMs, held, used, rest)
  if rest > 0 then
    local windowMs = a[p + 3]
    if nowMs >= startMs + a[p + 4] or lastMs + windowMs <= nowMs then return false end
    if nowMs + windowMs > expiresMs then expiresMs = nowMs + windowMs end
    pieces[size + 1], pieces[size + 2] = sub(value, copied, entry + 12), nowBytes
    pieces[size + 3] = packNumbers('<i7i7', held, used + rest)
    size = size + 3
  else
    pieces[size + 1], pieces[size + 2] = sub(value, copied, entry + 18), packNumbers('<i7i7', held, used)
    size = size + 2
  end
  copied = entry + ENTRY_BYTES
  return true
end

-- Settles a hold in the older sub-window `name`, one of those between `olderAt` and `olderEnd`: where it has passed, there is nothing left to change. Whether it
-- was simple.
local function changeOlder(entry, olderAt, olderEnd, name, amount, covered)
  local slot = olderEnd - SLOT_BYTES
  while slot >= olderAt and unpackNumbers('<i6', value, slot) ~= name do slot = slot - SLOT_BYTES end
  if slot < olderAt then return true end
  local slotHeld, slotUsed = unpackNumbers('<i7i7', value, slot + 12)
  local sumHeld, sumUsed = unpackNumbers(OLDER, value, entry + ENTRY_BYTES)
  slotHeld, slotUsed = slotHeld - amount, slotUsed + covered
  -- The first or last that is not empty may be another one now.
  if slotHeld + slotUsed == 0 or slotHeld + slotUsed + amount == covered then return false end
  pieces[size + 1] = sub(value, copied, entry + ENTRY_BYTES - 1)
  pieces[size + 2] = packNumbers('<i7i7', sumHeld - amount, sumUsed + covered)
  size, copied = size + 2, entry + ENTRY_BYTES + 14
  patches[patched + 1], patches[patched + 2] = slot + 12, packNumbers('<i7i7', slotHeld, slotUsed)
  patched = patched + 2
  return true
end

-- Settles the charge at `p`, the call's number `charge`. Where the next limit is looked for; nothing where it is not so simple.
local function settleCharge(p, charge, from, fromOlder)
  local rest, name, amount = a[p + 5], nil, 0
  if nextHold <= holds and record[3 + nextHold] == charge then
    name, amount = record[3 + holds + nextHold], record[3 + 2 * holds + nextHold]
    nextHold = nextHold + 1
  end
  local covered = rest < amount and rest or amount
  rest = rest - covered
  if not name and rest == 0 then return from, fromOlder end
  local entry, olderAt, nextAt, nextOlderAt, _, startMs, lastMs, held, used =
    findRolling(a[p + 1], value, from, fromOlder, headBytes)
  if not entry then return end
  local isNewest = startMs == name
  if isNewest then held, used = held - amount, used + covered end
  if (isNewest or rest > 0) and not changeNewest(p, entry, startMs, lastMs, held, used, rest) then return end
  if name and not isNewest and not changeOlder(entry, olderAt, nextOlderAt, name, amount, covered) then return end
  return nextAt, nextOlderAt
end

-- Copies the value up to `at`.
local function copyTo(at)
  if at <= copied then return end
  size = size + 1
  pieces[size], copied = sub(value, copied, at - 1), at
end

-- A tombstone takes the place of the record at `recordAt`; `deadBytes` of the tombstones go, too.
local function closeRecord(tombstonesAt, deadBytes, openAt, recordAt)
  if deadBytes > 0 then
    copyTo(tombstonesAt)
    copied = tombstonesAt + deadBytes
  end
  copyTo(openAt)
  pieces[size + 1], pieces[size + 2] = id, tombstoneTime()
  size = size + 2
  copyTo(recordAt)
  copied = recordAt + RECORD_BYTES + HOLD_BYTES * holds
end

-- Makes the value of the subject whose charges begin at `p`, the first of them the call's number `charge`. Whether that was simple.
local function settleSubject(i, p, charge)
  value = call('GET', KEYS[keysBefore + i])
  if not value then return false end
  local _, lastMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs
  _, lastMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs, headBytes = unpackNumbers(HEADER, value)
  nowMs, nowBytes = timeAfter(lastMs)
  if not nowMs then return false end
  local openAt, recordAt, deadBytes = #value - openBytes + 1, nil, nil
  local tombstonesAt = openAt - TOMBSTONE_BYTES * tombstones
  if i == 1 then
    recordAt, deadBytes = findRecord(openAt, openBytes), deadTombstones(value, tombstonesAt, tombstones)
    if not recordAt or not deadBytes or not readRecord(recordAt) then return false end
  end

  local at, olderAt = HEADER_BYTES + 1, headBytes + 1
  size, copied, patched = 2, KEPT_AT, 0
  for n = 1, a[6 + i] do
    at, olderAt = settleCharge(p, charge + n - 1, at, olderAt)
    if not at then return false end
    p = p + 7
  end
  for n = 1, patched, 2 do
    copyTo(patches[n])
    size = size + 1
    pieces[size], copied = patches[n + 1], patches[n] + 14
  end
  if i == 1 then
    closeRecord(tombstonesAt, deadBytes, openAt, recordAt)
    openBytes = openBytes - RECORD_BYTES - HOLD_BYTES * holds
    tombstones = tombstones - deadBytes / TOMBSTONE_BYTES + 1
  end
  copyTo(#value + 1)

  if openBytes == 0 then openUntilMs = 0 end
  local untilMs = expiresMs
  if openUntilMs > untilMs then untilMs = openUntilMs end
  if overflowUntilMs > untilMs then untilMs = overflowUntilMs end
  if tombstones > 0 and clockMs + CLOSED_MEMORY_MS > untilMs then untilMs = clockMs + CLOSED_MEMORY_MS end
  keptUntilMs, keepTexts[i] = keepUntil(untilMs, keptUntilMs)
  putHeader(pieces, nowMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones)
  if keepTexts[i] then pieces[3] = packNumbers('<i6', keptUntilMs) .. sub(pieces[3], 7) end
  values[i] = table.concat(pieces, '', 1, size)
  return true
end

local function fast()
  if a[1] == 2 or a[6] ~= 0 then return end
  local subjects, charge = a[5], 0
  for i = 1, subjects do
    if not settleSubject(i, 7 + subjects + 7 * charge, charge) then return end
    charge = charge + a[6 + i]
  end
  for i = 1, subjects do write(KEYS[keysBefore + i], values[i], keepTexts[i]) end
  return 0
end
