--[[
Reserves, or (step ≥ 1) extends: charges every limit or none (L1). With force 2 it only looks whether it would.

KEYS    the subjects' values; the reservation's own key; the leases, where concurrency is asked for
ARGV    see subject-state.lua
Output  little-endian doubles: [verdict, waitMs, limiting, (used, held, moreInMs, fullInMs) of each charge, charges over in shadow mode];
        verdict 0 admitted, 1 refused, 2 never fits, 3 closed
]]
local step = a[3]
local verdict, waitMs, limiting, over = 0, 0, -1, nil

local function decide()
  local charge, p, neverFits = 0, CHARGES, -1
  for i = 1, subjects do
    local s = states[i]
    local nowMs = s and effectiveNow(s)
    for _ = 1, a[8 + i] do
      local algorithm, need = a[p], a[p + 5]
      local isTooLarge, wait = need > a[p + 2], 0
      if s and not isTooLarge then
        local entry = findEntry(s, a[p + 1])
        if entry > 0 then
          if algorithm == 1 or algorithm == -1 then wait = waitRolling(s, entry, p, need, nowMs)
          elseif algorithm == 2 or algorithm == -2 then wait = waitBucket(s, entry, p, need, nowMs)
          elseif algorithm == 3 or algorithm == -3 then wait = waitCalendar(s, entry, p, need, nowMs)
          else wait = waitConcurrency(s, entry, p, need) end
        end
      end
      if isTooLarge or wait > 0 then
        if algorithm < 0 then
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

-- Charges the holds, appends them to `holds` from index `at` on, and returns the index behind them.
local function hold(holds, at, expiresMs)
  local charge, p = 0, CHARGES
  for i = 1, subjects do
    local s = states[i]
    local count = a[8 + i]
    if not s then
      s = { 0, 0, 5, 6, 0 }
      states[i] = s
    end
    local nowMs = effectiveNow(s)
    -- A subject that is there only to keep the reservation has no time of its own.
    if count > 0 or s[1] > 0 then s[1] = nowMs end
    for _ = 1, count do
      local amount, algorithm = a[p + 6], a[p]
      local blocks = algorithm == 4 or algorithm == -4
      if amount > 0 then
        local name = addTo(s, p, 0, amount, nowMs)
        holds[at], holds[at + 1], holds[at + 2] = charge, blocks and -1 or name, amount
        at = at + 3
      end
      if blocks and expiresMs > s[2] then s[2] = expiresMs end
      charge = charge + 1
      p = p + 7
    end
  end
  return at
end

local function reserve()
  local expiresMs = clockMs + a[5]
  local numbers = { a[1], a[2], expiresMs, step, 0 }
  local size = hold(numbers, 6, expiresMs) - 1
  numbers[5] = (size - 5) / 3
  local s = states[1]
  if openCount >= OPEN_MAX then
    saveOverflow(numbers, expiresMs + CLOSED_MEMORY_MS)
  else
    local last = s[3]
    for i = 1, size do s[last + i] = numbers[i] end
    s[3] = last + size
    end
end

local function extend()
  local expiresMs = clockMs + a[5]
  local count = holder[record + 4]
  local numbers = { a[1], a[2], expiresMs, step, 0 }
  for i = 6, 5 + 3 * count do numbers[i] = holder[record - 1 + i] end
  if holder == states[1] then dropRecord(holder, record) end
  local size = hold(numbers, 6 + 3 * count, expiresMs) - 1
  numbers[5] = (size - 5) / 3
  local s = states[1]
  if holder ~= s then
    saveOverflow(numbers, expiresMs + CLOSED_MEMORY_MS)
    return
  end
  local last = s[3]
  for i = 1, size do s[last + i] = numbers[i] end
  s[3] = last + size
end

local changed = false
if standing == 'closed' or (step > 0 and standing == 'none') then
  verdict = 3
elseif standing == 'none' or step > holder[record + 3] then
  changed = followClock(states) and a[4] < 2
  decide()
  if step > 0 and a[4] == 1 then verdict, waitMs, limiting = 0, 0, -1 end
  if step > 0 then over = nil end
  if verdict == 0 and a[4] < 2 then
    if step > 0 then extend() else reserve() end
    changed = true
  end
end

local reply = { verdict, waitMs, limiting }
local size, p = 3, CHARGES
for i = 1, subjects do
  local s = states[i]
  if changed and s then
    if i == 1 then saveFirst()
    elseif s[1] > 0 then save(KEYS[i], s, 0) end
  end
  for _ = 1, a[8 + i] do
    reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readLimit(s, p)
    size = size + 4
    p = p + 7
  end
end
if over then
  for i = 1, #over do reply[size + i] = over[i] end
  size = size + #over
end
return toBytes(reply, size)
