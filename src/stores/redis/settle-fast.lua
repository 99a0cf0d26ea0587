--[[
The common settle in one pass: of a reservation that is open, was never extended, and is over rolling windows only. When it meets anything else,
it gives up with nothing, and settle.lua begins again from what is stored; so it writes only once everything is known.
]]
local states, tails, opens = {}, {}, {}

local function fast()
  if a[1] == 2 or a[6] ~= 0 then return end
  local subjects, p, charge = a[5], 7 + a[5], 0
  local record, nextHold, last
  for i = 1, subjects do
    local value, nowMs = call('GET', KEYS[keysBefore + i]), clockMs
    if not value then return end
    local s, from, openBytes = toState(value)
    states[i], tails[i], opens[i] = s, sub(value, from), openBytes
    if i == 1 then
      local tail, open = from + openBytes - 1, ''
      if tail < from then return end
      -- Only the first of the open reservations is found without looking through them.
      if sub(value, from, from + 11) ~= id then
        if tail - from > OPEN_BYTES_MAX then return end
        local at = from
        repeat
          at = at + 21 + 16 * byte(value, at + 20)
          if at > tail then return end
        until sub(value, at, at + 11) == id
        open, from = sub(value, from, at - 1), at
      end
      local holds = byte(value, from + 20)
      if holds > RECORD_HOLDS_MAX then return end
      record = { unpackNumbers(sub(RECORD_FORMAT, 1, 6 + 5 * holds), value, from + 12) }
      -- It may have expired or been extended.
      if record[1] <= clockMs or record[2] ~= 0 then return end
      nextHold, last = 4, 3 + 3 * holds
      local behind = from + 21 + 16 * holds
      if behind <= tail then open = open .. sub(value, behind, tail) end
      local tombstones = bury(sub(value, tail + 1))
      if not tombstones then return end
      tails[1], opens[1] = open .. tombstones, #open
    end
    if s[1] > clockMs then
      nowMs = s[1]
      if nowMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return end
    end
    local at = 6
    for _ = 1, a[6 + i] do
      local used = a[p + 5]
      if nextHold <= last and record[nextHold] == charge then
        local limitId, name, held = a[p + 1], record[nextHold + 1], record[nextHold + 2]
        local covered = used < held and used or held
        local entry = s[at] == limitId and at < s[3] and at + 2 or findEntry(s, limitId)
        if entry > 0 then
          at = entry + s[entry - 1]
          for slot = at - 4, entry, -4 do
            if s[slot] == name then
              s[slot + 2], s[slot + 3] = s[slot + 2] + covered, s[slot + 3] - held
              break
            end
          end
        end
        used, nextHold = used - covered, nextHold + 3
      end
      if used > 0 then
        chargeRolling(s, p, used, 0, nowMs)
        at = 6
      end
      charge, p = charge + 1, p + 7
    end
    if s[3] > 5 or s[1] > 0 then s[1] = nowMs end
  end

  for i = 1, subjects do save(KEYS[keysBefore + i], states[i], tails[i], opens[i]) end
  return 0
end
