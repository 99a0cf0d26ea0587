--[[
The state of one subject as the scripts see it. First part of every script that touches counters; see scripts.ts.

One string value a subject: little-endian doubles, then tombstones.

    doubles     [lastMs, expiresMs, count, recordsAt, overflowUntilMs,
                 (limitId, length, …length numbers)*,                                    from index 6, as src/core/limits/subject-state.ts
                 (instance, sequence, expiresMs, step, n, (charge, slotName, held)*n)*]  from index recordsAt: open reservations
    tombstones  (id: 12 bytes, second of expiry: uint32)*: reservations that are closed

`count` is how many doubles there are. `overflowUntilMs`: until then a reservation of this subject may have a key of its own (KEYS[subjects + 1])
with one record like those above; a tombstone there has step −1. Only the first subject of a call has reservations.
`slotName` of a hold on concurrency is −1: what such a record blocks only comes back through `settle.lua`.

Request, ARGV[1], little-endian doubles:

    [instance, sequence, step, force, ttlMs, keepMs, subjects, algorithms, (charges of a subject)*subjects,
     (algorithm, limitId, capacity, windowMs, grainMs | refill, need | actual, hold)*, calendar boundaries]

    algorithm   1 rolling window, 2 token bucket, 3 calendar window (windowMs and the next are where its boundaries start and how many they are),
                4 concurrency; negative: shadow
    algorithms  those beside rolling windows that occur, as a sum of 1 (token bucket), 2 (calendar window), 4 (concurrency)
    keepMs      how long the charges can count at most in ordinary times; ARGV[3] is the same as text

ARGV[2] the reservation's id in 12 bytes; ARGV[4], for tests only, the time in epoch ms.
]]
local call, byte, sub, find, format, floor = redis.call, string.byte, string.sub, string.find, string.format, math.floor
local packNumbers, unpackNumbers, spread = struct.pack, struct.unpack, unpack

-- A C function may push 8,000 values at most (LUAI_MAXCSTACK), so long arrays go in pieces of 200.
local PIECE = 200
local DOUBLES = '<dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
  .. 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
-- How far the clock may step back without a state being moved with it: src/core/limits/subject-state.ts.
local CLOCK_STEP_TOLERANCE_MS = 10000
-- A key outlives what counts in it by this, since after a small step back of the clock it counts for longer.
local SLACK_MS = 10000
-- How long a closed reservation is remembered: far longer than anybody repeats a settle whose reply was lost (L6).
local CLOSED_MEMORY_MS = 60000
-- So that a busy subject's value stays small: more open reservations than this, or more closed ones, get keys of their own.
local OPEN_MAX = 16
local TOMBSTONES_BYTES_MAX = 64 * 16
-- Expired tombstones are looked for from here on: below it looking costs more than carrying them.
local TOMBSTONES_BYTES_PRUNED = 8 * 16

local function toNumbers(bytes, from, count)
  -- The position behind the last number comes back as well, behind the numbers: everybody counts for themselves.
  if count <= PIECE then return { unpackNumbers(sub(DOUBLES, 1, count + 1), bytes, from) } end
  local all = {}
  for start = 0, count - 1, PIECE do
    local size = count - start
    if size > PIECE then size = PIECE end
    local piece = { unpackNumbers(sub(DOUBLES, 1, size + 1), bytes, from + 8 * start) }
    for i = 1, size do all[start + i] = piece[i] end
  end
  return all
end

local function toBytes(numbers, count)
  if count <= PIECE then return packNumbers(sub(DOUBLES, 1, count + 1), spread(numbers, 1, count)) end
  local pieces = {}
  for start = 1, count, PIECE do
    local stop = start + PIECE - 1
    if stop > count then stop = count end
    pieces[#pieces + 1] = packNumbers(sub(DOUBLES, 1, stop - start + 2), spread(numbers, start, stop))
  end
  return table.concat(pieces)
end

local a = toNumbers(ARGV[1], 1, #ARGV[1] / 8)
local clockMs
if ARGV[4] then
  clockMs = tonumber(ARGV[4])
else
  local time = call('TIME')
  clockMs = time[1] * 1000 + floor(time[2] / 1000)
end

-- The numbers of a subject and the whole value, for its tombstones; nothing when there is none.
local function load(key)
  local value = call('GET', key)
  if not value then return end
  return toNumbers(value, 1, (unpackNumbers('<d', value, 17))), value
end

-- `untilMs`: until when the reservations in it must be kept; 0 where it has none.
local function save(key, s, untilMs, tombstones)
  local value = toBytes(s, s[3])
  if tombstones then value = value .. tombstones end
  local keepMs = (s[2] > untilMs and s[2] or untilMs) - clockMs + SLACK_MS
  -- Formatting a number costs as much as a GET, so the caller sends the usual one as text.
  call('SET', key, value, 'PX', keepMs <= a[6] and ARGV[3] or format('%.0f', keepMs))
end

-- Index of the first number of the limit's entry, or 0. Its length stands at the index before.
local function findEntry(s, limitId)
  local at, stop = 6, s[4]
  while at < stop do
    if s[at] == limitId then return at + 2 end
    at = at + 2 + s[at + 1]
  end
  return 0
end

-- Makes room for `count` numbers (zeros) before index `at` of the limits.
local function insertZeros(s, at, count)
  local last = s[3]
  for i = last, at, -1 do s[i + count] = s[i] end
  for i = at, at + count - 1 do s[i] = 0 end
  s[3] = last + count
  s[4] = s[4] + count
end

-- Takes `count` numbers at `at` out; `limits` of them belong to the limits.
local function remove(s, at, count, limits)
  local last = s[3]
  for i = at + count, last do s[i - count] = s[i] end
  s[3] = last - count
  s[4] = s[4] - limits
end

local function ensureEntry(s, limitId)
  local entry = findEntry(s, limitId)
  if entry > 0 then return entry end
  local at = s[4]
  insertZeros(s, at, 2)
  s[at] = limitId
  return at + 2
end

local function grow(s, entry, count)
  insertZeros(s, entry + s[entry - 1], count)
  s[entry - 1] = s[entry - 1] + count
end

local function shrink(s, entry, at, count)
  remove(s, at, count, count)
  s[entry - 1] = s[entry - 1] - count
end
