-- core/limits/expected-wait.ts: how long until the call at hand fits behind what is charged before it.

local function waitWith(s, p, total, nowMs, serviceMs)
  local algorithm, capacity = a[p], a[p + 2]
  if total == 0 or capacity == 0 then return 0 end
  local entry = s and findEntry(s, a[p + 1]) or 0
  local full = ceil(total / capacity) - 1
  local rest = total - full * capacity
  if algorithm == 1 then
    local first = entry > 0 and waitRolling(s, entry, p, rest, nowMs) or 0
    return first + full * a[p + 3]
  elseif algorithm == 2 then
    if entry > 0 then return waitBucket(s, entry, p, total, nowMs) end
    local wait = ceil((total - capacity) * a[p + 3] / a[p + 4])
    return wait > 0 and wait or 0
  elseif algorithm == 3 then
    local first = entry > 0 and waitCalendar(s, entry, p, rest, nowMs) or 0
    if full == 0 then return first end
    for at = a[p + 3], a[p + 3] + a[p + 4] - 1 do
      if a[at] > nowMs then return a[at] - nowMs > first and a[at] - nowMs or first end
    end
    return first
  end
  local _, open = 0, 0
  if entry > 0 then _, open = readConcurrency(s, entry) end
  local over = open + total - capacity
  return over <= 0 and 0 or ceil(over * serviceMs / capacity)
end

expectedWait = function(ticket, weight, contest, own, joining, isIn)
  local count, charge, shared, waitMs = a[5], 0, 0, 0
  local p = 7 + count
  useAlgorithms(KEYS[count + 1])
  for i = 1, count do
    local s, isShared = subjectOf(KEYS[i]).state, a[ticket.isSharedAt + i] == 1
    local nowMs = s and effectiveNow(s) or clockMs
    for _ = 1, a[6 + i] do
      charge = charge + 1
      local need, ahead = a[p + 5], own and own[charge] or 0
      if isShared then
        shared = shared + 1
        ahead = sharedAhead(contest, ticket.band, shared, need, ahead, weight, joining, isIn)
      end
      -- A limit in shadow mode makes nobody wait.
      if a[p] > 0 then
        local wait = waitWith(s, p, need + ahead, nowMs, contest.serviceMs)
        if wait > waitMs then waitMs = wait end
      end
      p = p + 7
    end
  end
  return waitMs
end
