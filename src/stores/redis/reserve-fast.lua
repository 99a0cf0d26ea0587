--[[
The common reserve in one pass: new, over rolling windows only, and it fits. When it meets anything else, it gives up with nothing, and reserve.lua
begins again from what is stored; so it writes only once everything is known.
]]
-- Filled anew by every call: growing tables would cost a fifth of the call.
local states, tails, opens, reply, record = {}, {}, {}, { 0, 0, -1 }, { 0, 0, 0 }

local function fast()
  -- No step, no force, no other algorithms.
  if a[1] + a[2] + a[6] ~= 0 then return end
  local subjects, size, p, charge, recordSize = a[5], 3, 7 + a[5], 0, 3
  for i = 1, subjects do
    local value, s, nowMs = call('GET', KEYS[keysBefore + i]), nil, clockMs
    local charges = a[6 + i]
    if value then
      local tailAt
      s, tailAt, opens[i] = toState(value)
      tails[i] = sub(value, tailAt)
      -- The id may have been seen before, or have a key of its own.
      if i == 1 and (s[5] > clockMs or opens[1] > OPEN_BYTES_MAX or find(tails[1], id, 1, true)) then return end
      if s[1] > clockMs then
        nowMs = s[1]
        if nowMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return end
      end
    else
      s, tails[i], opens[i] = { 0, 0, 5, 0, 0 }, '', 0
    end
    if charges > 0 or s[1] > 0 then s[1] = nowMs end
    states[i] = s

    -- Limits usually stand in the order of the charges.
    local at = 6
    for _ = 1, charges do
      local limitId, capacity, windowMs, amount = a[p + 1], a[p + 2], a[p + 3], a[p + 6]
      local entry = s[at] == limitId and at < s[3] and at + 2 or findEntry(s, limitId)
      local used, held, moreInMs, fullInMs, lastSlot, moreSlot = 0, 0, 0, 0, 0, 0
      local isTidy, joins = true, false
      if entry > 0 then
        local stop = entry + s[entry - 1]
        at, lastSlot = stop, stop - 4
        for slot = entry, lastSlot, 4 do
          local leftMs = s[slot + 1] + windowMs - nowMs
          if leftMs > 0 then
            local slotUsed, slotHeld = s[slot + 2], s[slot + 3]
            if slotUsed + slotHeld ~= 0 then
              used, held, fullInMs = used + slotUsed, held + slotHeld, leftMs
              if moreSlot == 0 then moreInMs, moreSlot = leftMs, slot end
            end
          else
            isTidy = false
          end
        end
        joins = lastSlot >= entry and nowMs < s[lastSlot] + a[p + 4]
        -- After a clock step a sub-window may have passed and yet take the charge.
        if joins and s[lastSlot + 1] + windowMs <= nowMs then return end
      end
      -- A limit in shadow mode, or one that does not fit.
      if a[p] ~= 1 or used + held + a[p + 5] > capacity then return end
      if amount > 0 then
        local name
        if joins and isTidy then
          s[lastSlot + 1], s[lastSlot + 3], name = nowMs, s[lastSlot + 3] + amount, s[lastSlot]
          if nowMs + windowMs > s[2] then s[2] = nowMs + windowMs end
        else
          name = chargeRolling(s, p, 0, amount, nowMs)
          if entry > 0 then at = entry + s[entry - 1] end
        end
        record[recordSize + 1], record[recordSize + 2], record[recordSize + 3] = charge, name, amount
        recordSize = recordSize + 3
        held, fullInMs = held + amount, windowMs
        if moreSlot == 0 or (joins and moreSlot == lastSlot) then moreInMs = windowMs end
      end
      reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = used, held, moreInMs, fullInMs
      size, charge, p = size + 4, charge + 1, p + 7
    end
  end
  local holds = (recordSize - 3) / 3
  if holds > RECORD_HOLDS_MAX then return end
  record[1], record[2], record[3] = clockMs + a[3], 0, holds

  for i = 1, subjects do
    local s, tail, openBytes = states[i], tails[i], opens[i]
    if i == 1 then
      local own = id .. packNumbers(sub(RECORD_FORMAT, 1, 6 + 5 * holds), spread(record, 1, recordSize))
      local keptMs = record[1] + CLOSED_MEMORY_MS
      if openBytes == 0 then
        s[4], tail = keptMs, own .. tail
      else
        if keptMs > s[4] then s[4] = keptMs end
        tail = sub(tail, 1, openBytes) .. own .. sub(tail, openBytes + 1)
      end
      openBytes = openBytes + #own
    end
    if i == 1 or s[1] > 0 then save(KEYS[keysBefore + i], s, tail, openBytes) end
  end
  return packAll(DOUBLES, 1, reply, size)
end
