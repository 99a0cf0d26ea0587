--[[
The state of one subject as the scripts see it. First part of every script that touches counters; see scripts.ts.

One string value a subject: little-endian integers of 7 bytes, then open reservations, then tombstones.

    integers    [lastMs, expiresMs, count + 2^24 · bytes of open reservations, openUntilMs, overflowUntilMs,
                 (limitId, length, …length numbers)*]                              from index 6, as src/core/limits/subject-state.ts
    open        (id: 12 bytes, expiresMs: uint48, step: int16, n: uint8, (charge: uint16, slotName: uint48, held: double)*n)*
    tombstones  (id: 12 bytes, second of expiry: uint32)*: reservations that are closed

`count` is how many integers there are; once loaded, it stands alone at its index. The first subject of a call keeps its reservation; a subject
that is not the first may have been the first of another call, so what follows the integers is always kept. While there are open
reservations, the value must be kept until `openUntilMs`. Until `overflowUntilMs` a reservation of this subject may have a key of its own, with one
record like those above; a tombstone there has step −1. `slotName` of a hold on concurrency is BLOCKS.

Input: ARGV[1] is the time in epoch ms, for tests only, else empty. Each further argument is one call: the reservation's id in 12 bytes
(instance: uint48, sequence: uint48) and little-endian doubles:

    [step, force, ttlMs, keepMs, subjects, algorithms, (charges of a subject)*subjects,
     (algorithm, limitId, capacity, windowMs, grainMs | refill, need | actual, hold)*, calendar boundaries]

    keepMs      how long the charges can count at most in ordinary times
    algorithms  those beside rolling windows that occur, as a sum of 1 (token bucket), 2 (calendar window), 4 (concurrency)
    algorithm   1 rolling window, 2 token bucket, 3 calendar window (windowMs and the next are where its boundaries start and how many they are),
                4 concurrency; negative: shadow

KEYS are those of the calls one after the other, each: its subjects' values, its reservation's own key, and the leases where concurrency occurs.

A script starts from nothing every time, and making a function costs as much as a few calls of it. So calls that come together share one
run of a script, and what only few of them need is only made when the first of them does.
]]
local call, byte, sub, find, format, floor = redis.call, string.byte, string.sub, string.find, string.format, math.floor
local packNumbers, unpackNumbers, spread = struct.pack, struct.unpack, unpack

-- A C function may push 8,000 values at most (LUAI_MAXCSTACK), so long arrays go in pieces of 200.
local PIECE = 200
local DOUBLES = '<dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
  .. 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
-- Times, amounts and ids all are whole numbers below 2^55; a byte less for each brings a user's value below the next size that memory comes in.
local INTEGERS = '<i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
local INTEGER_BYTES, INTEGER_MAX = 7, 2 ^ 54
local OPEN_UNIT = 16777216
-- How far the clock may step back without a state being moved with it: src/core/limits/subject-state.ts.
local CLOCK_STEP_TOLERANCE_MS = 10000
-- A key outlives what counts in it by this, since after a small step back of the clock it counts for longer.
local SLACK_MS = 10000
-- How long a closed reservation is remembered: far longer than anybody repeats a settle whose reply was lost (L6).
local CLOSED_MEMORY_MS = 60000
-- So that a busy subject's value stays small: beyond this many bytes of open reservations (16 with four limits each) and of closed ones (64),
-- further ones get keys of their own.
local OPEN_BYTES_MAX = 16 * 85
local TOMBSTONES_BYTES_MAX = 64 * 16
-- Expired tombstones are looked for from here on: below it looking costs more than carrying them.
local TOMBSTONES_BYTES_PRUNED = 16 * 16
-- A name that no sub-window has.
local BLOCKS = 281474976710655
-- An open reservation with up to this many holds.
local RECORD_HOLDS_MAX = 16
local RECORD_FORMAT = '<I6i2BI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6dI2I6d'

-- `letters` of `layout` stand for a number of `width` bytes. The position behind the last number comes back as well, behind the numbers:
-- everybody counts for themselves.
local function unpackAll(layout, letters, width, bytes, from, count)
  if count <= PIECE then return { unpackNumbers(sub(layout, 1, letters * count + 1), bytes, from) } end
  local all = {}
  for start = 0, count - 1, PIECE do
    local size = count - start
    if size > PIECE then size = PIECE end
    local piece = { unpackNumbers(sub(layout, 1, letters * size + 1), bytes, from + width * start) }
    for i = 1, size do all[start + i] = piece[i] end
  end
  return all
end

local function packAll(layout, letters, numbers, count)
  if count <= PIECE then return packNumbers(sub(layout, 1, letters * count + 1), spread(numbers, 1, count)) end
  local pieces = {}
  for start = 1, count, PIECE do
    local stop = start + PIECE - 1
    if stop > count then stop = count end
    pieces[#pieces + 1] = packNumbers(sub(layout, 1, letters * (stop - start + 1) + 1), spread(numbers, start, stop))
  end
  return table.concat(pieces)
end

-- The numbers of a subject's value, where what follows them begins, and how many bytes of that are open reservations.
local function toState(value)
  local packed = unpackNumbers('<i7', value, 2 * INTEGER_BYTES + 1)
  local count = packed % OPEN_UNIT
  local s = unpackAll(INTEGERS, 2, INTEGER_BYTES, value, 1, count)
  s[3] = count
  return s, INTEGER_BYTES * count + 1, (packed - count) / OPEN_UNIT
end

local clockMs
if ARGV[1] ~= '' then
  clockMs = tonumber(ARGV[1])
else
  local time = call('TIME')
  clockMs = time[1] * 1000 + floor(time[2] / 1000)
end

-- The call at hand: its id, its numbers, and the keys before its own.
local id, a, keysBefore = nil, nil, 0
local keepText, keepTextMs

-- Index of the first number of the limit's entry, or 0. Its length stands at the index before.
local function findEntry(s, limitId)
  local at, last = 6, s[3]
  while at < last do
    if s[at] == limitId then return at + 2 end
    at = at + 2 + s[at + 1]
  end
  return 0
end

-- Makes room for `count` numbers (zeros) at index `at`.
local function insertZeros(s, at, count)
  local last = s[3]
  for i = last, at, -1 do s[i + count] = s[i] end
  for i = at, at + count - 1 do s[i] = 0 end
  s[3] = last + count
end

-- Takes `count` numbers at `at` out of the entry.
local function shrink(s, entry, at, count)
  local last = s[3]
  for i = at + count, last do s[i - count] = s[i] end
  s[3] = last - count
  s[entry - 1] = s[entry - 1] - count
end

-- Gives the entry `count` more numbers (zeros) at its end.
local function grow(s, entry, count)
  insertZeros(s, entry + s[entry - 1], count)
  s[entry - 1] = s[entry - 1] + count
end

local function ensureEntry(s, limitId)
  local entry = findEntry(s, limitId)
  if entry > 0 then return entry end
  local last = s[3]
  s[last + 1], s[last + 2] = limitId, 0
  s[3] = last + 2
  return last + 3
end

-- rolling-window.ts: (startMs, lastMs, used, held)*, oldest first. Returns the name of the sub-window that took the charge.
local function chargeRolling(s, p, used, held, nowMs)
  local entry, windowMs = ensureEntry(s, a[p + 1]), a[p + 3]
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

-- `tail` is what stands behind the numbers; `openBytes` of it are open reservations.
local function save(key, s, tail, openBytes)
  local count, untilMs = s[3], s[2]
  if openBytes == 0 then s[4] = 0 end
  if s[4] > untilMs then untilMs = s[4] end
  if s[5] > untilMs then untilMs = s[5] end
  if #tail > openBytes and clockMs + CLOSED_MEMORY_MS > untilMs then untilMs = clockMs + CLOSED_MEMORY_MS end
  if s[2] > INTEGER_MAX then s[2] = INTEGER_MAX end
  s[3] = count + OPEN_UNIT * openBytes
  local value = packAll(INTEGERS, 2, s, count) .. tail
  s[3] = count
  local keepMs = untilMs - clockMs + SLACK_MS
  -- Formatting a number costs as much as a GET, and the usual one is the same for most calls.
  if keepMs < a[4] then keepMs = a[4] end
  if keepMs ~= keepTextMs then keepText, keepTextMs = format('%.0f', keepMs), keepMs end
  call('SET', key, value, 'PX', keepText)
end
