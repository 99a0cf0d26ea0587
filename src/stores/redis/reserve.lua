--[[
Reserves, or (step ≥ 1) extends: charges every limit or none (L1). With force 2 it only looks whether it would.

KEYS    see subject-state.lua
ARGV    see subject-state.lua
Output  for each call little-endian doubles: [verdict, waitMs, limiting, (used, held, moreInMs, fullInMs) of each charge, charges over in shadow
        mode]; verdict 0 admitted, 1 refused, 2 never fits, 3 closed
]]
local newStep, force
local verdict, waitMs, limiting, over

local function waitFor(s, entry, p, need, nowMs)
  local algorithm = a[p]
  if algorithm == 1 or algorithm == -1 then return waitRolling(s, entry, p, need, nowMs) end
  if algorithm == 2 or algorithm == -2 then return waitBucket(s, entry, p, need, nowMs) end
  if algorithm == 3 or algorithm == -3 then return waitCalendar(s, entry, p, need, nowMs) end
  return waitConcurrency(s, entry, p, need)
end

local function decide()
  local charge, p, neverFits = 0, 7 + subjects, -1
  for i = 1, subjects do
    local s = states[i]
    local nowMs = s and effectiveNow(s)
    for _ = 1, a[6 + i] do
      local need = a[p + 5]
      local isTooLarge, wait = need > a[p + 2], 0
      if s and not isTooLarge then
        local entry = findEntry(s, a[p + 1])
        if entry > 0 then wait = waitFor(s, entry, p, need, nowMs) end
      end
      if isTooLarge or wait > 0 then
        if a[p] < 0 then
          over = over or {}
          over[#over + 1] = charge
        elseif isTooLarge then
          if neverFits == -1 then neverFits = charge end
        elseif wait > waitMs then
          waitMs, limiting = wait, charge
        end
      end
      charge = charge + 1
      p = p + 7
    end
  end
  if neverFits ~= -1 then
    verdict, waitMs, limiting = 2, 0, neverFits
  elseif limiting ~= -1 then
    verdict = 1
  end
end

-- Charges the holds and appends them to `list`.
local function hold(list, untilMs)
  local charge, p, size = 0, 7 + subjects, #list
  for i = 1, subjects do
    local s, count = states[i], a[6 + i]
    if not s then
      s = newState()
      states[i] = s
    end
    local nowMs = effectiveNow(s)
    -- A state without charges is only there to keep the reservation, and has no time of its own.
    if count > 0 or s[1] > 0 then s[1] = nowMs end
    for _ = 1, count do
      local amount, algorithm = a[p + 6], a[p]
      local blocks = algorithm == 4 or algorithm == -4
      if amount > 0 then
        local name = addTo(s, p, 0, amount, nowMs)
        list[size + 1], list[size + 2], list[size + 3] = charge, blocks and BLOCKS or name, amount
        size = size + 3
      end
      if blocks and untilMs > s[2] then s[2] = untilMs end
      charge = charge + 1
      p = p + 7
    end
  end
end

return function()
  newStep, force = a[1], a[2]
  verdict, waitMs, limiting, over = 0, 0, -1, nil
  lookUp()
  local changed = false
  if standing == 'closed' or (newStep > 0 and standing == 'none') then
    verdict = 3
  elseif standing == 'none' or newStep > step then
    changed = followClock(states) and force < 2
    decide()
    if newStep > 0 then
      over = nil
      if force == 1 then verdict, waitMs, limiting = 0, 0, -1 end
    end
    if verdict == 0 and force < 2 then
      local untilMs, list = clockMs + a[3], holds or {}
      hold(list, untilMs)
      saveRecord(newStep, untilMs, list)
      changed = true
    end
  end

  local reply = { verdict, waitMs, limiting }
  local size, p = 3, 7 + subjects
  for i = 1, subjects do
    local s = states[i]
    if changed and s and (i == 1 or s[1] > 0) then saveSubject(i) end
    for _ = 1, a[6 + i] do
      reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readLimit(s, p)
      size = size + 4
      p = p + 7
    end
  end
  if over then
    for i = 1, #over do reply[size + i] = over[i] end
    size = size + #over
  end
  return packAll(DOUBLES, 1, reply, size)
end
