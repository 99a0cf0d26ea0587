--[[
The common settle in one pass: of a reservation that is open, was never extended, and is over rolling windows only. It reads of a value what it must,
and copies the rest. When it meets anything else, it gives up with nothing, and settle.lua begins again from what is stored; so it writes only
once everything is known.
]]
local FAST_HOLDS_MAX = 16
-- Filled anew by every call.
local values, keepTexts, pieces, patches = {}, {}, {}, {}
local clockBytes, tombstoneEnd
local recordFormats = {}

local function fast()
  if a[1] == 2 or a[6] ~= 0 then return end
  local subjects, p, charge = a[5], 7 + a[5], 0
  local record, holds, nextHold
  clockBytes = clockBytes or packNumbers('<i6', clockMs)
  for i = 1, subjects do
    local value = call('GET', KEYS[keysBefore + i])
    if not value then return end
    local _, nowMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones, keptUntilMs, headBytes = unpackNumbers(HEADER, value)
    local openAt, recordAt, recordEnd = #value - openBytes + 1, nil, nil
    local tombstonesAt = openAt - TOMBSTONE_BYTES * tombstones
    local deadBytes = 0
    if i == 1 then
      recordAt = openAt
      -- Only the first of the open reservations is found without looking through them.
      if openBytes == 0 then return end
      if sub(value, recordAt, recordAt + 11) ~= id then
        if openBytes > OPEN_BYTES_MAX then return end
        repeat
          recordAt = recordAt + RECORD_BYTES + HOLD_BYTES * byte(value, recordAt + 20)
          if recordAt > #value then return end
        until sub(value, recordAt, recordAt + 11) == id
      end
      holds = byte(value, recordAt + 20)
      if holds > FAST_HOLDS_MAX then return end
      local layout = recordFormats[holds]
      if not layout then
        layout = '<I6i2B' .. string.rep('I2', holds) .. string.rep('I6', holds) .. string.rep('d', holds)
        recordFormats[holds] = layout
      end
      record = { unpackNumbers(layout, value, recordAt + 12) }
      -- It may have expired or been extended.
      if record[1] <= clockMs or record[2] ~= 0 then return end
      nextHold, recordEnd = 1, recordAt + RECORD_BYTES + HOLD_BYTES * holds
      if tombstones >= TOMBSTONES_PRUNED then
        local live = tombstonesAt
        while live < openAt and unpackNumbers('<I4', value, live + 12) * 1000 <= clockMs do live = live + TOMBSTONE_BYTES end
        deadBytes = live - tombstonesAt
        if tombstones - deadBytes / TOMBSTONE_BYTES >= TOMBSTONES_MAX then return end
      end
    end
    local nowBytes = clockBytes
    if nowMs <= clockMs then
      -- A state without a limit has no time of its own.
      if nowMs == 0 then return end
      nowMs = clockMs
    else
      if nowMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return end
      nowBytes = packNumbers('<i6', nowMs)
    end

    local at, copied, size, olderAt, patched = HEADER_BYTES + 1, KEPT_AT, 2, headBytes + 1, 0
    for _ = 1, a[6 + i] do
      local limitId, rest, name, amount = a[p + 1], a[p + 5], nil, 0
      if nextHold <= holds and record[3 + nextHold] == charge then
        name, amount = record[3 + holds + nextHold], record[3 + 2 * holds + nextHold]
        nextHold = nextHold + 1
      end
      local covered = rest < amount and rest or amount
      rest = rest - covered
      if name or rest > 0 then
        local storedId, older, startMs, lastMs, held, used
        repeat
          if at + ENTRY_BYTES - 1 > headBytes then return end
          storedId, older, startMs, lastMs, held, used = unpackNumbers(ENTRY, value, at)
          local entry, entryOlderAt = at, olderAt
          if older == 0 then
            at = at + ENTRY_BYTES
          elseif older < LONG then
            at, olderAt = at + ENTRY_BYTES + OLDER_BYTES, olderAt + SLOT_BYTES * older
          else
            at = at + 10 + INTEGER_BYTES * unpackNumbers('<I3', value, at + 7)
          end
          if storedId == limitId then
            if older >= LONG then return end
            local isNewest = startMs == name
            if isNewest then held, used = held - amount, used + covered end
            if rest > 0 then
              -- Beyond the hold it is charged now.
              local windowMs = a[p + 3]
              if nowMs >= startMs + a[p + 4] or lastMs + windowMs <= nowMs then return end
              used = used + rest
              if nowMs + windowMs > expiresMs then expiresMs = nowMs + windowMs end
              pieces[size + 1], pieces[size + 2] = sub(value, copied, entry + 12), nowBytes
              pieces[size + 3] = packNumbers('<i7i7', held, used)
              size, copied = size + 3, entry + ENTRY_BYTES
            elseif isNewest then
              pieces[size + 1], pieces[size + 2] = sub(value, copied, entry + 18), packNumbers('<i7i7', held, used)
              size, copied = size + 2, entry + ENTRY_BYTES
            end
            if name and not isNewest then
              local slot = olderAt - SLOT_BYTES
              while slot >= entryOlderAt and unpackNumbers('<i6', value, slot) ~= name do slot = slot - SLOT_BYTES end
              -- Where the sub-window has passed, there is nothing left to change.
              if slot >= entryOlderAt then
                local slotHeld, slotUsed = unpackNumbers('<i7i7', value, slot + 12)
                local sumHeld, sumUsed = unpackNumbers(OLDER, value, entry + ENTRY_BYTES)
                slotHeld, slotUsed = slotHeld - amount, slotUsed + covered
                -- The first or last that is not empty may be another one now.
                if slotHeld + slotUsed == 0 or slotHeld + slotUsed + amount == covered then return end
                pieces[size + 1] = sub(value, copied, entry + ENTRY_BYTES - 1)
                pieces[size + 2] = packNumbers('<i7i7', sumHeld - amount, sumUsed + covered)
                size, copied = size + 2, entry + ENTRY_BYTES + 14
                patches[patched + 1], patches[patched + 2] = slot + 12, packNumbers('<i7i7', slotHeld, slotUsed)
                patched = patched + 2
              end
            end
          end
        until storedId == limitId
      end
      charge, p = charge + 1, p + 7
    end
    for n = 1, patched, 2 do
      pieces[size + 1], pieces[size + 2] = sub(value, copied, patches[n] - 1), patches[n + 1]
      size, copied = size + 2, patches[n] + 14
    end
    if i == 1 then
      if deadBytes > 0 then
        size = size + 1
        pieces[size], copied = sub(value, copied, tombstonesAt - 1), tombstonesAt + deadBytes
      end
      tombstoneEnd = tombstoneEnd or packNumbers('<I4', floor((clockMs + CLOSED_MEMORY_MS) / 1000) + 1)
      pieces[size + 1], pieces[size + 2], pieces[size + 3] = sub(value, copied, openAt - 1), id, tombstoneEnd
      size, copied = size + 3, openAt
      if recordAt > openAt then
        size = size + 1
        pieces[size] = sub(value, openAt, recordAt - 1)
      end
      copied = recordEnd
      openBytes = openBytes - (recordEnd - recordAt)
      tombstones = tombstones - deadBytes / TOMBSTONE_BYTES + 1
    end
    if copied <= #value then
      size = size + 1
      pieces[size] = sub(value, copied)
    end
    if openBytes == 0 then openUntilMs = 0 end
    local untilMs = expiresMs
    if openUntilMs > untilMs then untilMs = openUntilMs end
    if overflowUntilMs > untilMs then untilMs = overflowUntilMs end
    if tombstones > 0 and clockMs + CLOSED_MEMORY_MS > untilMs then untilMs = clockMs + CLOSED_MEMORY_MS end
    keptUntilMs, keepTexts[i] = keepUntil(untilMs, keptUntilMs)
    putHeader(pieces, nowMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones)
    if keepTexts[i] then pieces[3] = packNumbers('<i6', keptUntilMs) .. sub(pieces[3], 7) end
    values[i] = table.concat(pieces, '', 1, size)
  end
  for i = 1, subjects do write(KEYS[keysBefore + i], values[i], keepTexts[i]) end
  return 0
end
