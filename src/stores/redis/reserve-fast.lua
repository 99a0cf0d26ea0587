--[[
The common reserve in one pass: new, over rolling windows only, it fits, and the newest sub-windows take it. It reads of a value what it must, and
copies the rest. When it meets anything else, it gives up with nothing, and reserve.lua begins again from what is stored; so it writes only once
everything is known.

Output  header and entries of the subject as they are stored now: the client finds in them what reserve.lua would have counted together. Of several
        subjects: uint8 3, then for each how many charges it has (uint8), header and entries
]]
local SEVERAL = 3
local ALL_CHARGES = struct.pack('<I2I2I2I2I2I2I2I2I2I2I2I2I2I2I2I2', 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
local FAST_HOLDS_MAX = 16
-- Filled anew by every call: growing tables would cost a fifth of the call.
local heads, rests, keepTexts, pieces, record = {}, {}, {}, {}, {}
local clockBytes, recordStart, recordStartMs, recordStartHolds

-- What counts of the sub-windows that stand from `at` on and of the newest, if it is over (`newestAt`): how many they are, what they have together
-- (as in OLDER), and their bytes.
local function olderAgain(value, at, stop, newestAt, windowMs, nowMs)
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

local function fast()
  -- No step, no force, no other algorithms.
  if a[1] + a[2] + a[6] ~= 0 then return end
  local subjects, charges = a[5], 0
  for i = 1, subjects do charges = charges + a[6 + i] end
  if charges > FAST_HOLDS_MAX then return end
  local p, holds, recordMs = 7 + subjects, 0, clockMs + a[3]
  clockBytes = clockBytes or packNumbers('<i6', clockMs)
  for i = 1, subjects do
    local value = call('GET', KEYS[keysBefore + i])
    if not value then return end
    local _, nowMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs, headBytes = unpackNumbers(HEADER, value)
    local nowBytes, newHeadBytes = clockBytes, headBytes
    if nowMs <= clockMs then
      -- A state without a limit has no time of its own.
      if nowMs == 0 then return end
      nowMs = clockMs
    else
      if nowMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return end
      nowBytes = packNumbers('<i6', nowMs)
    end
    if i == 1 then
      -- The id may have been seen before, or have a key of its own.
      if overflowUntilMs > clockMs or openBytes > OPEN_BYTES_MAX or find(value, id, headBytes + 1, true) then return end
      if openBytes == 0 or recordMs + CLOSED_MEMORY_MS > openUntilMs then openUntilMs = recordMs + CLOSED_MEMORY_MS end
      openBytes = openBytes + RECORD_BYTES + HOLD_BYTES * charges
    end

    -- `pieces` are the header and the entries as they will be; `rest` is what follows them, as far as it changes.
    local at, copied, size, olderAt, rest, restAt = HEADER_BYTES + 1, KEPT_AT, 2, headBytes + 1, '', headBytes + 1
    for _ = 1, a[6 + i] do
      local limitId, windowMs, amount = a[p + 1], a[p + 3], a[p + 6]
      local storedId, count, startMs, lastMs, held, used
      -- Limits stand in the order of the charges, but for those that this call has nothing to do with.
      repeat
        if at + ENTRY_BYTES - 1 > headBytes then return end
        storedId, count, startMs, lastMs, held, used = unpackNumbers(ENTRY, value, at)
        local entry, entryOlderAt = at, olderAt
        if count == 0 then
          at = at + ENTRY_BYTES
        elseif count < LONG then
          at, olderAt = at + ENTRY_BYTES + OLDER_BYTES, olderAt + SLOT_BYTES * count
        else
          at = at + 10 + INTEGER_BYTES * unpackNumbers('<I3', value, at + 7)
        end
        if storedId == limitId then
          -- A limit in shadow mode.
          if count >= LONG or a[p] ~= 1 then return end
          local total, joins, isTidy = a[p + 5], nowMs < startMs + a[p + 4], true
          -- After a clock step a sub-window may have passed and yet take the charge.
          if joins and lastMs + windowMs <= nowMs then return end
          if count > 0 then
            local olderHeld, olderUsed, firstMs = unpackNumbers(OLDER, value, entry + ENTRY_BYTES)
            total = total + olderHeld + olderUsed
            isTidy = firstMs == 0 or firstMs + windowMs > nowMs
          end
          if joins and isTidy then
            if total + held + used > a[p + 2] then return end
            pieces[size + 1] = sub(value, copied, entry + 12)
            pieces[size + 2] = nowBytes
            pieces[size + 3] = packNumbers('<i7', held + amount)
            record[holds + 5] = sub(value, entry + 7, entry + 12)
            size, copied = size + 3, entry + 26
          else
            local hadOlder, olderHeld, olderUsed, firstMs, lastOlderMs, bytes = count > 0, nil, nil, nil, nil, nil
            count, olderHeld, olderUsed, firstMs, lastOlderMs, bytes =
              olderAgain(value, entryOlderAt, olderAt, not joins and entry + 7, windowMs, nowMs)
            if not joins then startMs, held, used = nowMs, 0, 0 end
            if count >= LONG or olderHeld + olderUsed + held + used + a[p + 5] > a[p + 2] then return end
            pieces[size + 1] = sub(value, copied, entry - 1)
            pieces[size + 2] = packNumbers(ENTRY, limitId, count, startMs, nowMs, held + amount, used)
            pieces[size + 3] = count > 0 and packNumbers(OLDER, olderHeld, olderUsed, firstMs, lastOlderMs) or ''
            record[holds + 5] = packNumbers('<I6', startMs)
            size, copied = size + 3, at
            rest, restAt = rest .. sub(value, restAt, entryOlderAt - 1) .. bytes, olderAt
            newHeadBytes = newHeadBytes + ((count > 0 and OLDER_BYTES or 0) - (hadOlder and OLDER_BYTES or 0))
          end
          -- Where not all of the charges hold something, the record must say which do.
          if amount == 0 then return end
          holds = holds + 1
          if nowMs + windowMs > expiresMs then expiresMs = nowMs + windowMs end
        end
      until storedId == limitId
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
  end

  if recordStartMs ~= recordMs or recordStartHolds ~= holds then
    recordStart = packNumbers(RECORD, recordMs, 0, holds) .. sub(ALL_CHARGES, 1, 2 * holds)
    recordStartMs, recordStartHolds = recordMs, holds
  end
  local amounts = ''
  if request then
    amounts = sub(request, 14, 13 + 8 * holds)
  else
    p = 7 + subjects
    for _ = 1, holds do amounts, p = amounts .. packNumbers('<d', a[p + 6]), p + 7 end
  end
  record[1], record[2], record[3], record[4], record[holds + 5] = heads[1], rests[1], id, recordStart, amounts
  write(KEYS[keysBefore + 1], table.concat(record, '', 1, holds + 5), keepTexts[1])
  if subjects == 1 then return heads[1] end
  local reply = string.char(SEVERAL, a[7]) .. heads[1]
  for i = 2, subjects do
    write(KEYS[keysBefore + i], heads[i] .. rests[i], keepTexts[i])
    reply = reply .. string.char(a[6 + i]) .. heads[i]
  end
  return reply
end
