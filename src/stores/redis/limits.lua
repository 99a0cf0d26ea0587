--[[
The arithmetic of limits: src/core/limits in Lua, function by function, with the same results to the last bit (L11).
`s` is a subject's state, `p` where the charge starts in the request `a`.
]]

-- rolling-window.ts: (startMs, lastMs, used, held)*, oldest first.

local function waitRolling(s, entry, p, need, nowMs)
  local stop, windowMs = entry + s[entry - 1] - 1, a[p + 3]
  local counted = 0
  for i = entry, stop, 4 do
    if s[i + 1] + windowMs > nowMs then counted = counted + (s[i + 2] + s[i + 3]) end
  end
  local excess = counted + need - a[p + 2]
  if excess <= 0 then return 0 end
  for i = entry, stop, 4 do
    if s[i + 1] + windowMs > nowMs then
      excess = excess - (s[i + 2] + s[i + 3])
      if excess <= 0 then return s[i + 1] + windowMs - nowMs end
    end
  end
  return windowMs
end

-- Returns the name of the sub-window that took the charge.
local function chargeRolling(s, p, used, held, nowMs)
  local entry, windowMs = ensureEntry(s, a[p + 1]), a[p + 3]
  s.rolling[a[p + 1]] = true
  local live, stop = entry, entry + s[entry - 1]
  while live < stop and s[live + 1] + windowMs <= nowMs do live = live + 4 end
  if live > entry then shrink(s, entry, entry, live - entry) end
  local length = s[entry - 1]
  local slot = entry + length - 4
  if length == 0 or nowMs >= s[slot] + a[p + 4] then
    grow(s, entry, 4)
    slot = entry + length
    s[slot] = nowMs
  end
  s[slot + 1] = nowMs
  s[slot + 2] = s[slot + 2] + used
  s[slot + 3] = s[slot + 3] + held
  if nowMs + windowMs > s[2] then s[2] = nowMs + windowMs end
  return s[slot]
end

local function settleRolling(s, entry, name, held, used)
  for slot = entry, entry + s[entry - 1] - 1, 4 do
    if s[slot] == name then
      s[slot + 3] = s[slot + 3] - held
      s[slot + 2] = s[slot + 2] + used
      return
    end
  end
end

local function readRolling(s, entry, p, nowMs)
  local windowMs, used, held, moreInMs, fullInMs = a[p + 3], 0, 0, 0, 0
  for slot = entry, entry + s[entry - 1] - 1, 4 do
    if s[slot + 1] + windowMs > nowMs then
      used = used + s[slot + 2]
      held = held + s[slot + 3]
      if s[slot + 2] + s[slot + 3] ~= 0 then
        fullInMs = s[slot + 1] + windowMs - nowMs
        if moreInMs == 0 then moreInMs = fullInMs end
      end
    end
  end
  return used, held, moreInMs, fullInMs
end

-- token-bucket.ts: (updatedMs, bucketLevel, remainder, held).

local waitBucket, chargeBucket, settleBucket, readBucket
local function useTokenBuckets()
  local DIGIT, MAX_SAFE_INTEGER = 1048576, 9007199254740991

  -- exact-division.ts: ⌊(x·y + carry) / divisor⌋ and the remainder.
  local function multiplyDivide(x, y, carry, divisor)
    local whole = floor(x / divisor)
    local rest = x - whole * divisor
    local high = floor(y / (DIGIT * DIGIT))
    local middle = floor(y / DIGIT) % DIGIT
    local low = y % DIGIT
    local partial = rest * high
    local quotient = floor(partial / divisor)
    local remainder = partial - quotient * divisor
    partial = remainder * DIGIT + rest * middle
    local digit = floor(partial / divisor)
    quotient = quotient * DIGIT + digit
    remainder = partial - digit * divisor
    partial = remainder * DIGIT + rest * low
    digit = floor(partial / divisor)
    quotient = quotient * DIGIT + digit
    remainder = partial - digit * divisor + carry
    if remainder >= divisor then
      remainder = remainder - divisor
      quotient = quotient + 1
    end
    local total = whole * y + quotient
    return total <= MAX_SAFE_INTEGER and total or math.huge, remainder
  end

  local function refilled(s, entry, p, nowMs)
    local capacity = a[p + 2]
    if s[entry - 1] == 0 then return capacity, 0 end
    local elapsedMs = nowMs - s[entry]
    if elapsedMs < 0 then elapsedMs = 0 end
    local gained, remainder = multiplyDivide(elapsedMs, a[p + 4], s[entry + 2], a[p + 3])
    local level = s[entry + 1] + gained
    if level >= capacity then return capacity, 0 end
    return level, remainder
  end

  local function timeToReach(target, level, remainder, p)
    if level >= target then return 0 end
    local deficit, refill, windowMs = target - level, a[p + 4], a[p + 3]
    local waitMs = floor((deficit * windowMs - remainder) / refill) - 1
    if waitMs < 1 then waitMs = 1 end
    -- Beyond, adding 1 changes nothing, and a script that never ends would stop the whole server.
    while waitMs < MAX_SAFE_INTEGER and multiplyDivide(waitMs, refill, remainder, windowMs) < deficit do
      waitMs = waitMs + 1
    end
    return waitMs
  end

  waitBucket = function(s, entry, p, need, nowMs)
    local level, remainder = refilled(s, entry, p, nowMs)
    return timeToReach(need, level, remainder, p)
  end

  chargeBucket = function(s, p, used, held, nowMs)
    local entry = ensureEntry(s, a[p + 1])
    local level, remainder = refilled(s, entry, p, nowMs)
    if s[entry - 1] == 0 then grow(s, entry, 4) end
    s[entry] = nowMs
    s[entry + 1] = level - used - held
    s[entry + 2] = remainder
    s[entry + 3] = s[entry + 3] + held
    local fullMs = nowMs + timeToReach(a[p + 2], s[entry + 1], remainder, p)
    if fullMs > s[2] then s[2] = fullMs end
    return 0
  end

  settleBucket = function(s, entry, p, held, used, nowMs)
    if s[entry - 1] == 0 then return end
    local level, remainder = refilled(s, entry, p, nowMs)
    level = level + held - used
    local isFull = level >= a[p + 2]
    s[entry] = nowMs
    s[entry + 1] = isFull and a[p + 2] or level
    s[entry + 2] = isFull and 0 or remainder
    local left = s[entry + 3] - held
    s[entry + 3] = left > 0 and left or 0
  end

  readBucket = function(s, entry, p, nowMs)
    local remaining, remainder = refilled(s, entry, p, nowMs)
    local taken = a[p + 2] - remaining
    local held = 0
    if s[entry - 1] > 0 then held = s[entry + 3] < taken and s[entry + 3] or taken end
    local moreInMs = taken == 0 and 0 or timeToReach(remaining + 1, remaining, remainder, p)
    return taken - held, held, moreInMs, timeToReach(a[p + 2], remaining, remainder, p)
  end
end

-- calendar-window.ts: (periodStartMs, used, held).

local waitCalendar, chargeCalendar, settleCalendar, readCalendar
local function useCalendarWindows()
  -- Where in the request the boundary stands that starts the period of `nowMs`.
  local function periodOf(p, nowMs)
    local first = a[p + 3]
    local index = first + a[p + 4] - 2
    while index > first and a[index] > nowMs do index = index - 1 end
    return index
  end

  local function isCurrent(s, entry, p, nowMs)
    return s[entry - 1] > 0 and s[entry] >= a[periodOf(p, nowMs)]
  end

  local function untilEnd(p, nowMs)
    local leftMs = a[periodOf(p, nowMs) + 1] - nowMs
    return leftMs > 1 and leftMs or 1
  end

  waitCalendar = function(s, entry, p, need, nowMs)
    if not isCurrent(s, entry, p, nowMs) then return 0 end
    if s[entry + 1] + s[entry + 2] + need <= a[p + 2] then return 0 end
    return untilEnd(p, nowMs)
  end

  chargeCalendar = function(s, p, used, held, nowMs)
    local entry = ensureEntry(s, a[p + 1])
    local current = isCurrent(s, entry, p, nowMs)
    if s[entry - 1] == 0 then grow(s, entry, 3) end
    if not current then
      s[entry + 1] = 0
      s[entry + 2] = 0
    end
    local period = periodOf(p, nowMs)
    s[entry] = a[period]
    s[entry + 1] = s[entry + 1] + used
    s[entry + 2] = s[entry + 2] + held
    local endMs = a[periodOf(p, nowMs > s[entry] and nowMs or s[entry]) + 1]
    if endMs > s[2] then s[2] = endMs end
    return s[entry]
  end

  settleCalendar = function(s, entry, name, held, used)
    if s[entry - 1] == 0 or s[entry] ~= name then return end
    s[entry + 2] = s[entry + 2] - held
    s[entry + 1] = s[entry + 1] + used
  end

  readCalendar = function(s, entry, p, nowMs)
    local used, held = 0, 0
    if isCurrent(s, entry, p, nowMs) then used, held = s[entry + 1], s[entry + 2] end
    local endsInMs = used + held == 0 and 0 or untilEnd(p, nowMs)
    return used, held, endsInMs, endsInMs
  end
end

-- concurrency.ts: (instance, count)*. `leases` is the key of a sorted set of instances by expiry.

local CONCURRENCY_WAIT_MS = 1000
local waitConcurrency, chargeConcurrency, readConcurrency
local function useConcurrency(leases)
  local alive = {}
  local function isAlive(instance)
    local known = alive[instance]
    if known == nil then
      local untilMs = call('ZSCORE', leases, format('%.0f', instance))
      known = untilMs and tonumber(untilMs) > clockMs or false
      alive[instance] = known
    end
    return known
  end

  readConcurrency = function(s, entry)
    local open = 0
    for slot = entry, entry + s[entry - 1] - 1, 2 do
      if isAlive(s[slot]) then open = open + s[slot + 1] end
    end
    return 0, open, 0, 0
  end

  waitConcurrency = function(s, entry, p, need)
    local _, open = readConcurrency(s, entry)
    return open + need <= a[p + 2] and 0 or CONCURRENCY_WAIT_MS
  end

  chargeConcurrency = function(s, p, instance, count)
    local entry = ensureEntry(s, a[p + 1])
    for slot = entry + s[entry - 1] - 2, entry, -2 do
      if s[slot] ~= instance and not isAlive(s[slot]) then shrink(s, entry, slot, 2) end
    end
    local length = s[entry - 1]
    for slot = entry, entry + length - 1, 2 do
      if s[slot] == instance then
        local open = s[slot + 1] + count
        s[slot + 1] = open
        if open <= 0 then shrink(s, entry, slot, 2) end
        return
      end
    end
    if count <= 0 then return end
    grow(s, entry, 2)
    s[entry + length] = instance
    s[entry + length + 1] = count
  end
end

-- Makes what the call at hand needs.
local function useAlgorithms(leases)
  local algorithms = a[6]
  if algorithms % 2 >= 1 and not waitBucket then useTokenBuckets() end
  if algorithms % 4 >= 2 and not waitCalendar then useCalendarWindows() end
  if algorithms >= 4 and not waitConcurrency then useConcurrency(leases) end
end

-- combine.ts

-- The moment that counts for this subject: time never runs backwards, unless by so much that the state is moved back with it (L5).
local function effectiveNow(s)
  local lastMs = s[1]
  if clockMs >= lastMs or lastMs - clockMs > CLOCK_STEP_TOLERANCE_MS then return clockMs end
  return lastMs
end

-- The moment at which what moves with the clock is read: as if it had been moved already.
local function followingNow(s) return clockMs > s[1] and clockMs or s[1] end

-- Moves states back with a clock that has stepped back beyond the tolerance; to be called before anything is decided. Returns whether a state was
-- moved: it must be kept even if the call is then refused.
local function followClock(states)
  local moved, p = false, 7 + a[5]
  for i = 1, a[5] do
    local s, stop = states[i], p + 7 * a[6 + i]
    if s and s[1] - clockMs > CLOCK_STEP_TOLERANCE_MS then
      local backMs = s[1] - clockMs
      moved = true
      for charge = p, stop - 1, 7 do
        local entry, algorithm = findEntry(s, a[charge + 1]), a[charge]
        if entry > 0 and (algorithm == 1 or algorithm == -1) then
          for slot = entry, entry + s[entry - 1] - 1, 4 do
            s[slot] = s[slot] - backMs
            s[slot + 1] = s[slot + 1] - backMs
          end
        elseif entry > 0 and (algorithm == 2 or algorithm == -2) and s[entry - 1] > 0 then
          s[entry] = s[entry] - backMs
        end
      end
      s[1] = s[1] - backMs
      s[2] = s[2] - backMs
    end
    p = stop
  end
  return moved
end

-- Counts `used + held` on one limit and returns the name of the sub-window that took it.
local function addTo(s, p, used, held, nowMs)
  local algorithm = a[p]
  if algorithm == 1 or algorithm == -1 then return chargeRolling(s, p, used, held, nowMs) end
  if algorithm == 2 or algorithm == -2 then return chargeBucket(s, p, used, held, nowMs) end
  if algorithm == 3 or algorithm == -3 then return chargeCalendar(s, p, used, held, nowMs) end
  chargeConcurrency(s, p, (unpackNumbers('<I6', id)), held)
  return 0
end

-- How a limit stands: used, held, moreInMs, fullInMs. `s` may be missing.
local function readLimit(s, p)
  local entry = s and findEntry(s, a[p + 1]) or 0
  if entry == 0 then return 0, 0, 0, 0 end
  local algorithm = a[p]
  if algorithm == 1 or algorithm == -1 then return readRolling(s, entry, p, followingNow(s)) end
  if algorithm == 2 or algorithm == -2 then return readBucket(s, entry, p, followingNow(s)) end
  if algorithm == 3 or algorithm == -3 then return readCalendar(s, entry, p, effectiveNow(s)) end
  return readConcurrency(s, entry)
end
