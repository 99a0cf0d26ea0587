--[[
The common reserve in one pass: new, over rolling windows only, it fits, and the newest sub-windows take it. It reads of a value what it must, and
copies the rest. When it meets anything else, it gives up with nothing, and reserve.lua begins again from what is stored; so it writes only once
everything is known.

Output  header and entries of the subject as they are stored now: the client finds in them what reserve.lua would have counted together. Of several
        subjects: uint8 3, then for each how many charges it has (uint8), header and entries
]]
local SEVERAL = 3
local ALL_CHARGES = struct.pack('<I2I2I2I2I2I2I2I2I2I2I2I2I2I2I2I2', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
-- Filled anew by every call: growing tables would cost a fifth of the call.
local heads, rests, keepTexts, pieces, record = {}, {}, {}, {}, {}
local recordStart, recordStartMs, recordStartHolds

-- The subject at hand. Its header and entries, as they will be, are the first `size` of `pieces`, and what stands from `copied` on; what follows them is
-- `rest`, and what stands from `restAt` on.
local value, nowMs, nowBytes, expiresMs, headBytes, size, copied, newHeadBytes, rest, restAt
-- How many of the charges hold something so far.
local holds

-- What counts of the sub-windows that stand from `at` on and of the newest, if it is over (`newestAt`): how many they are, what they have together
-- (as in OLDER), and their bytes.
local function olderAgain(at, stop, newestAt, windowMs)
  local count, held, used, firstMs, lastMs, liveAt, bytes = 0, 0, 0, 0, 0, stop, ''
  for slot = at, newestAt and stop or stop - 1, SLOT_BYTES do
    local from = slot < stop and slot or newestAt
    local _, slotMs, slotHeld, slotUsed = unpackNumbers(SLOT, value, from)
    if slotMs + windowMs > nowMs and (slot < stop or slotHeld + slotUsed ~= 0) then
      if count == 0 then liveAt = slot end
      if slot == stop then bytes = sub(value, from, from + SLOT_BYTES - 1) end
      count = count + 1
      if slotHeld + slotUsed ~= 0 then
        held, used, lastMs = held + slotHeld, used + slotUsed, slotMs
        if firstMs == 0 then firstMs = slotMs end
      end
    end
  end
  return count, held, used, firstMs, lastMs, sub(value, liveAt, stop - 1) .. bytes
end

-- The newest sub-window takes the charge, and nothing else changes.
local function join(entry, held, amount)
  pieces[size + 1] = sub(value, copied, entry + 12)
  pieces[size + 2] = nowBytes
  pieces[size + 3] = packNumbers('<i7', held + amount)
  record[holds + 5] = sub(value, entry + 7, entry + 12)
  size, copied = size + 3, entry + 26
end

-- What has passed is left out, and the newest sub-window takes the charge: a new one where `joins` is false. Whether it fits.
local function tidy(p, joins, entry, olderAt, nextAt, nextOlderAt, older, startMs, held, used)
  local windowMs, amount = a[p + 3], a[p + 6]
  local count, olderHeld, olderUsed, firstMs, lastMs, bytes =
    olderAgain(olderAt, nextOlderAt, not joins and entry + 7, windowMs)
  if not joins then startMs, held, used = nowMs, 0, 0 end
  if count >= LONG or olderHeld + olderUsed + held + used + a[p + 5] > a[p + 2] then return false end
  pieces[size + 1] = sub(value, copied, entry - 1)
  pieces[size + 2] = packNumbers(ENTRY, a[p + 1], count, startMs, nowMs, held + amount, used)
  pieces[size + 3] = count > 0 and packNumbers(OLDER, olderHeld, olderUsed, firstMs, lastMs) or ''
  record[holds + 5] = packNumbers('<I6', startMs)
  size, copied = size + 3, nextAt
  rest, restAt = rest .. sub(value, restAt, olderAt - 1) .. bytes, nextOlderAt
  newHeadBytes = newHeadBytes + ((count > 0 and OLDER_BYTES or 0) - (older > 0 and OLDER_BYTES or 0))
  return true
end

-- Charges the limit of the charge at `p`. Where the next limit is looked for; nothing where it is not so simple.
local function charge(p, from, fromOlder)
  local entry, olderAt, nextAt, nextOlderAt, older, startMs, lastMs, held, used =
    findRolling(a[p + 1], value, from, fromOlder, headBytes)
  local windowMs, amount = a[p + 3], a[p + 6]
  -- A limit in shadow mode; and where not all of the charges hold something, the record must say which do.
  if not entry or a[p] ~= 1 or amount == 0 then return end
  local joins, isTidy = nowMs < startMs + a[p + 4], true
  -- After a clock step a sub-window may have passed and yet take the charge.
  if joins and lastMs + windowMs <= nowMs then return end
  local total = a[p + 5] + held + used
  if older > 0 then
    local olderHeld, olderUsed, firstMs = unpackNumbers(OLDER, value, entry + ENTRY_BYTES)
    total = total + olderHeld + olderUsed
    isTidy = firstMs == 0 or firstMs + windowMs > nowMs
  end
  if joins and isTidy then
    if total > a[p + 2] then return end
    join(entry, held, amount)
  elseif not tidy(p, joins, entry, olderAt, nextAt, nextOlderAt, older, startMs, held, used) then
    return
  end
  holds = holds + 1
  if nowMs + windowMs > expiresMs then expiresMs = nowMs + windowMs end
  return nextAt, nextOlderAt
end

-- Makes the value of the subject whose charges begin at `p`; the first one's is to have a record of `recordBytes` until `recordMs`. Whether that was simple.
local function chargeSubject(i, p, recordMs, recordBytes)
  value = call('GET', KEYS[keysBefore + i])
  if not value then return false end
  local _, lastMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs
  _, lastMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs, headBytes = unpackNumbers(HEADER, value)
  nowMs, nowBytes = timeAfter(lastMs)
  if not nowMs then return false end
  if i == 1 then
    -- The id may have been seen before, or have a key of its own.
    if overflowUntilMs > clockMs or openBytes > OPEN_BYTES_MAX or find(value, id, headBytes + 1, true) then return false end
    if openBytes == 0 or recordMs + CLOSED_MEMORY_MS > openUntilMs then openUntilMs = recordMs + CLOSED_MEMORY_MS end
    openBytes = openBytes + recordBytes
  end

  local at, olderAt = HEADER_BYTES + 1, headBytes + 1
  size, copied, newHeadBytes, rest, restAt = 2, KEPT_AT, headBytes, '', olderAt
  for _ = 1, a[6 + i] do
    at, olderAt = charge(p, at, olderAt)
    if not at then return false end
    p = p + 7
  end

  local untilMs = expiresMs
  if openUntilMs > untilMs then untilMs = openUntilMs end
  if overflowUntilMs > untilMs then untilMs = overflowUntilMs end
  keptUntilMs, keepTexts[i] = keepUntil(untilMs, keptUntilMs)
  pieces[size + 1] = sub(value, copied, headBytes)
  putHeader(pieces, nowMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones)
  if keepTexts[i] or newHeadBytes ~= headBytes then
    pieces[3] = packNumbers('<i6I3', keptUntilMs, newHeadBytes) .. sub(pieces[3], 10)
  end
  heads[i], rests[i] = table.concat(pieces, '', 1, size + 1), rest .. sub(value, restAt)
  return true
end

-- What the charges hold, as bytes of a record.
local function amountBytes(first)
  if request then return sub(request, 14, 13 + 8 * holds) end
  local amounts = ''
  for p = first, first + 7 * (holds - 1), 7 do amounts = amounts .. packNumbers('<d', a[p + 6]) end
  return amounts
end

-- The first subject's value ends with the record: what it holds of which limits, in which of their sub-windows.
local function writeFirst(first, recordMs)
  if recordStartMs ~= recordMs or recordStartHolds ~= holds then
    recordStart = packNumbers(RECORD, recordMs, 0, holds) .. sub(ALL_CHARGES, 1, 2 * holds)
    recordStartMs, recordStartHolds = recordMs, holds
  end
  record[1], record[2], record[3], record[4], record[holds + 5] = heads[1], rests[1], id, recordStart, amountBytes(first)
  write(KEYS[keysBefore + 1], table.concat(record, '', 1, holds + 5), keepTexts[1])
end

local function fast()
  -- No step, no force, no other algorithms.
  if a[1] + a[2] + a[6] ~= 0 then return end
  local subjects, charges = a[5], 0
  for i = 1, subjects do charges = charges + a[6 + i] end
  if charges > FAST_HOLDS_MAX then return end
  local first, recordMs = 7 + subjects, clockMs + a[3]
  holds = 0
  for i = 1, subjects do
    if not chargeSubject(i, first + 7 * holds, recordMs, RECORD_BYTES + HOLD_BYTES * charges) then return end
  end

  writeFirst(first, recordMs)
  if subjects == 1 then return heads[1] end
  local reply = string.char(SEVERAL, a[7]) .. heads[1]
  for i = 2, subjects do
    write(KEYS[keysBefore + i], heads[i] .. rests[i], keepTexts[i])
    reply = reply .. string.char(a[6 + i]) .. heads[i]
  end
  return reply
end
