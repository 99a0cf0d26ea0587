--[[
What the waiting room asks of limits. Many calls of a run are over the same limits, so a subject is read once, changed in memory, and written by
`writeSubjects` at the end of the run.
]]

-- By key: state (nil where nothing is stored), tail, bytes of open reservations, and how long it is kept.
local known, changed = {}, {}

local function subjectOf(key)
  local subject = known[key]
  if subject then return subject end
  subject = { state = nil, tail = '', open = 0, keepMs = 0 }
  known[key] = subject
  local value = call('GET', key)
  if value then
    subject.state, subject.tail, subject.open = toState(value)
  end
  return subject
end

local function keepSubject(key, subject)
  if a[4] > subject.keepMs then subject.keepMs = a[4] end
  changed[key] = subject
end

loadSubject = function(i)
  local subject = subjectOf(KEYS[i])
  states[i], tails[i], opens[i] = subject.state, subject.tail, subject.open
end

saveSubject = function(i)
  local subject = subjectOf(KEYS[i])
  subject.state = states[i]
  if i == 1 then
    subject.tail, subject.open = tombstones .. openRecords, #openRecords
  else
    subject.tail, subject.open = tails[i] or '', opens[i] or 0
  end
  keepSubject(KEYS[i], subject)
end

writeSubjects = function()
  for key, subject in pairs(changed) do
    a = { 0, 0, 0, subject.keepMs }
    save(key, subject.state, subject.tail, subject.open)
  end
  changed = {}
end

-- How much counts on the limit at `p`.
local function taken(s, p)
  local entry = findEntry(s, a[p + 1])
  if entry == 0 then return 0 end
  if a[p] == 4 then
    local _, open = readConcurrency(s, entry)
    return open
  end
  local windowMs, sum = a[p + 3], 0
  for slot = entry, entry + s[entry - 1] - 1, 4 do
    if s[slot + 1] + windowMs > clockMs then sum = sum + s[slot + 2] + s[slot + 3] end
  end
  return sum
end

-- Whether the call at hand is new, over rolling windows and concurrency only, and fits; else the general part must say.
local function isPlain()
  local count = a[5]
  local p = 7 + count
  if a[6] ~= 0 and a[6] ~= 4 then return false end
  useAlgorithms(KEYS[count + 1])
  for i = 1, count do
    local subject = subjectOf(KEYS[i])
    local s = subject.state
    if s and s[1] > clockMs then return false end
    if s and i == 1 and (s[5] > clockMs or subject.open > OPEN_BYTES_MAX or find(subject.tail, id, 1, true)) then return false end
    for _ = 1, a[6 + i] do
      if a[p] < 0 or (s and taken(s, p) or 0) + a[p + 5] > a[p + 2] then return false end
      p = p + 7
    end
  end
  return true
end

local function keepRecord(subject, untilMs, list)
  local s, own, keptMs = subject.state, toRecord(0, untilMs, list), untilMs + CLOSED_MEMORY_MS
  if subject.open == 0 or keptMs > s[4] then s[4] = keptMs end
  subject.tail, subject.open = subject.tail .. own, subject.open + #own
end

-- The reserve of a plain call, or nothing.
attemptKnown = function()
  if not isPlain() then return end
  local count, untilMs, charge = a[5], clockMs + a[3], 0
  local p, reply, size, list, listSize = 7 + count, { 0, 0, -1 }, 3, {}, 0
  for i = 1, count do
    local subject, charges = subjectOf(KEYS[i]), a[6 + i]
    local s = subject.state
    if not s then
      s = newState()
      subject.state = s
    end
    if charges > 0 or s[1] > 0 then s[1] = clockMs end
    for _ = 1, charges do
      local amount, blocks, name = a[p + 6], a[p] == 4, BLOCKS
      if amount > 0 then
        if blocks then chargeConcurrency(s, p, (unpackNumbers('<I6', id)), amount) else name = chargeRolling(s, p, 0, amount, clockMs) end
        list[listSize + 1], list[listSize + 2], list[listSize + 3] = charge, name, amount
        listSize = listSize + 3
      end
      if blocks and untilMs > s[2] then s[2] = untilMs end
      local entry = findEntry(s, a[p + 1])
      if entry == 0 then
        reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = 0, 0, 0, 0
      elseif blocks then
        reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readConcurrency(s, entry)
      else
        reply[size + 1], reply[size + 2], reply[size + 3], reply[size + 4] = readRolling(s, entry, p, clockMs)
      end
      size, charge, p = size + 4, charge + 1, p + 7
    end
    if i == 1 or s[1] > 0 then keepSubject(KEYS[i], subject) end
  end
  keepRecord(subjectOf(KEYS[1]), untilMs, list)
  return packAll(DOUBLES, 1, reply, size)
end
