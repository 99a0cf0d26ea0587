--[[
The state of one subject as the scripts see it. First part of every script that touches counters; see scripts.ts.

One string value a subject, little-endian:

    header      (layout: uint8 = 2, lastMs, expiresMs, openUntilMs, overflowUntilMs: int48 each, bytes of open reservations: uint16,
                number of tombstones: uint8, keptUntilMs: int48, bytes of header and entries: uint24)
    entries     one a limit: (limitId: uint48, n: uint8, …)
                n < 254   a rolling window: its newest sub-window (startMs, lastMs: int48, held, used: int56) and, where n > 0, what its n older ones
                          have together (held, used: int56, lastMs of the first and of the last that is not empty: int48 each, else 0)
                n = 254   a rolling window with more sub-windows (count: uint24, its numbers: int56 each)
                n = 255   another algorithm, likewise
    older       the older sub-windows (startMs, lastMs: int48, held, used: int56) of each limit, oldest first
    tombstones  (id: 12 bytes, second of expiry: uint32)*: reservations that are closed
    open        (id: 12 bytes, expiresMs: uint48, step: int16, n: uint8, charges: uint16*n, slotNames: uint48*n, held: double*n)*

So a call that changes only the newest sub-windows, as most do, reads and writes few bytes of them and copies the rest; that is what the fast parts do.
Everybody else works on a table, as src/core/limits/subject-state.ts:

    [lastMs, expiresMs, count, openUntilMs, overflowUntilMs, (limitId, length, …length numbers)*], keptUntilMs, rolling

`count` is how many numbers there are, `rolling` the set of limits that are rolling windows. The first subject of a call keeps its reservation; a
subject that is not the first may have been the first of another call, so what follows the counters is always kept. While there are open
reservations, the value must be kept until `openUntilMs`. Until `overflowUntilMs` a reservation of this subject may have a key of its own, with one
record like those above; a tombstone there has step −1. `slotName` of a hold on concurrency is BLOCKS. `keptUntilMs` is when the key expires.

Keys have the layout's number in their names (realms.ts), so that no program meets values of another layout.

Input: ARGV[1] is the time in epoch ms, for tests only, else empty. A call is its reservation's id in 12 bytes (instance: uint48, sequence: uint48)
and numbers, little-endian doubles:

    [step, force, ttlMs, keepMs, subjects, algorithms, (charges of a subject)*subjects,
     (algorithm, limitId, capacity, windowMs, grainMs | refill, need | actual, hold)*, calendar boundaries]

    keepMs      how long the charges can count at most in ordinary times
    algorithms  those beside rolling windows that occur, as a sum of 1 (token bucket), 2 (calendar window), 4 (concurrency)
    algorithm   1 rolling window, 2 token bucket, 3 calendar window (windowMs and the next are where its boundaries start and how many they are),
                4 concurrency; negative: shadow

Calls that come together share what is the same in them. For them ARGV[2] is how many plans follow: numbers without needs and holds. Then come
the calls, each

    (number of its plan, from 0: uint8, id, hold | actual: double*charges, need: double*charges, where one is more than its hold)

Elsewhere a call is one argument: id, numbers.

KEYS are those of the calls one after the other, each: its subjects' values, and the leases where concurrency occurs. A reservation that does not fit
into its subject's value has a key of its own, on the same slot: what starts the subject's key up to its hash tag, `r:`, instance, `:`, sequence.

A script starts from nothing every time, and making a function costs as much as a few calls of it. So calls that come together share one
run of a script, and what only few of them need is only made when the first of them does.
]]
local call, byte, sub, find, format, floor = redis.call, string.byte, string.sub, string.find, string.format, math.floor
local packNumbers, unpackNumbers, spread = struct.pack, struct.unpack, unpack

-- Lua allows 200 locals in a script, and the waiting room's has many: those of one function each are in a block with it.

local DOUBLES = '<dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
  .. 'dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd'
-- Amounts are whole numbers below 2^55.
local INTEGERS = '<i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
  .. 'i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7i7'
local INTEGER_BYTES, TIME_MAX = 7, 2 ^ 47 - 1
local LAYOUT, HEADER, HEADER_BYTES = 2, '<Bi6i6i6i6I2Bi6I3', 37
-- An entry of a rolling window: id, n, startMs, lastMs, held, used; then, where n > 0, what the older ones have together.
local ENTRY, ENTRY_BYTES, OLDER, OLDER_BYTES, SLOT, SLOT_BYTES = '<I6Bi6i6i7i7', 33, '<i7i7i6i6', 26, '<i6i6i7i7', 26
local LONG, OTHER = 254, 255
-- So that a busy subject's value stays small: beyond this many bytes of open reservations (16 with four limits each) and of closed ones (64),
-- further ones get keys of their own.
local OPEN_BYTES_MAX = 16 * 85
local TOMBSTONE_BYTES, TOMBSTONES_MAX = 16, 64
-- Expired tombstones are looked for from here on: below it looking costs more than carrying them.
local TOMBSTONES_PRUNED = 16
-- A name that no sub-window has.
local BLOCKS = 281474976710655
-- An open reservation without its holds, and a hold in it.
local RECORD, RECORD_BYTES, HOLD_BYTES = '<I6i2B', 21, 16
local unpackAll, packAll
do
  -- A C function may push 8,000 values at most (LUAI_MAXCSTACK), so long arrays go in pieces of 200.
  local PIECE = 200

  -- `letters` of `layout` stand for a number of `width` bytes. The position behind the last number comes back as well, behind the numbers:
  -- everybody counts for themselves.
  unpackAll = function(layout, letters, width, bytes, from, count)
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

  packAll = function(layout, letters, numbers, count)
    if count <= PIECE then return packNumbers(sub(layout, 1, letters * count + 1), spread(numbers, 1, count)) end
    local pieces = {}
    for start = 1, count, PIECE do
      local stop = start + PIECE - 1
      if stop > count then stop = count end
      pieces[#pieces + 1] = packNumbers(sub(layout, 1, letters * (stop - start + 1) + 1), spread(numbers, start, stop))
    end
    return table.concat(pieces)
  end
end

-- The state of a subject's value, what follows its counters, and how many bytes of that are open reservations.
local function toState(value)
  local _, lastMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, _, keptUntilMs, headBytes = unpackNumbers(HEADER, value)
  local rolling = {}
  local s = { lastMs, expiresMs, 5, openUntilMs, overflowUntilMs, keptUntilMs = keptUntilMs, rolling = rolling }
  local at, size, olderAt = HEADER_BYTES + 1, 5, headBytes + 1
  while at <= headBytes do
    local limitId, older = unpackNumbers('<I6B', value, at)
    s[size + 1] = limitId
    if older ~= OTHER then rolling[limitId] = true end
    if older >= LONG then
      local count = unpackNumbers('<I3', value, at + 7)
      local numbers = unpackAll(INTEGERS, 2, INTEGER_BYTES, value, at + 10, count)
      s[size + 2] = count
      for i = 1, count do s[size + 2 + i] = numbers[i] end
      at, size = at + 10 + INTEGER_BYTES * count, size + 2 + count
    else
      s[size + 2] = 4 * older + 4
      size = size + 2
      for _ = 1, older do
        s[size + 1], s[size + 2], s[size + 4], s[size + 3] = unpackNumbers(SLOT, value, olderAt)
        size, olderAt = size + 4, olderAt + SLOT_BYTES
      end
      s[size + 1], s[size + 2], s[size + 4], s[size + 3] = unpackNumbers(SLOT, value, at + 7)
      at, size = at + (older > 0 and ENTRY_BYTES + OLDER_BYTES or ENTRY_BYTES), size + 4
    end
  end
  s[3] = size
  return s, sub(value, olderAt), openBytes
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
-- As it came, where calls share plans.
local request

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

local function newState() return { 0, 0, 5, 0, 0, keptUntilMs = 0, rolling = {} } end

-- Until when a key is kept that must be until `untilMs`, and what tells Redis so: nothing where it need not be told.
local keepUntil
do
  -- A key is kept for longer than it must be by this share, since telling Redis anew with every call when it expires costs as much as two GETs …
  local KEPT_LONGER = 1 / 8
  -- … and it is not told when that could be earlier, up to this.
  local KEPT_TOO_LONG_MS = 30000
  local keepText, keepTextMs

  keepUntil = function(untilMs, keptUntilMs)
    local keepMs = untilMs - clockMs + SLACK_MS
    if keepMs < a[4] then keepMs = a[4] end
    local spareMs = keptUntilMs - clockMs - keepMs
    if spareMs >= 0 and (spareMs <= KEPT_TOO_LONG_MS or spareMs <= keepMs * KEPT_LONGER) then return keptUntilMs end
    keepMs = keepMs + floor(keepMs * KEPT_LONGER)
    if clockMs + keepMs > TIME_MAX then keepMs = TIME_MAX - clockMs end
    -- Formatting a number costs as much as a GET, and the usual one is the same for most calls.
    if keepMs ~= keepTextMs then keepText, keepTextMs = format('%.0f', keepMs), keepMs end
    return clockMs + keepMs, keepText
  end
end

-- Where `keptUntilMs` begins in a value.
local KEPT_AT = 29

-- Begins `pieces` with the header up to there; the third must be what follows in `value`, and is given another `keptUntilMs` where that has changed.
local putHeader
do
  -- Calls that come together mostly write the same before it, but for the counts.
  local FRONT, COUNTS = '<Bi6i6i6i6', '<I2B'
  local front, frontLastMs, frontExpiresMs, frontOpenMs, frontOverflowMs, counts = nil, nil, nil, nil, nil, {}

  putHeader = function(pieces, lastMs, expiresMs, openUntilMs, overflowUntilMs, openBytes, tombstones)
    if lastMs ~= frontLastMs or expiresMs ~= frontExpiresMs or openUntilMs ~= frontOpenMs or overflowUntilMs ~= frontOverflowMs then
      front = packNumbers(FRONT, LAYOUT, lastMs, expiresMs, openUntilMs, overflowUntilMs)
      frontLastMs, frontExpiresMs, frontOpenMs, frontOverflowMs = lastMs, expiresMs, openUntilMs, overflowUntilMs
    end
    local number = 256 * openBytes + tombstones
    local text = counts[number]
    if not text then
      text = packNumbers(COUNTS, openBytes, tombstones)
      counts[number] = text
    end
    pieces[1], pieces[2] = front, text
  end
end

local function write(key, value, text)
  if text then call('SET', key, value, 'PX', text) else call('SET', key, value, 'KEEPTTL') end
end

-- `tail` is what stands behind the counters; `openBytes` of it are open reservations.
local save
do
  -- The entry of a limit and its older sub-windows, as they are stored.
  local function packEntry(s, at)
    local limitId, length = s[at], s[at + 1]
    local first, older = at + 2, length / 4 - 1
    local newest = at + length - 2
    if not s.rolling[limitId] or older >= LONG then
      local kind = s.rolling[limitId] and LONG or OTHER
      local numbers = {}
      for i = 1, length do numbers[i] = s[first + i - 1] end
      return packNumbers('<I6BI3', limitId, kind, length) .. packAll(INTEGERS, 2, numbers, length), ''
    end
    local entry = packNumbers(ENTRY, limitId, older, s[newest], s[newest + 1], s[newest + 3], s[newest + 2])
    if older == 0 then return entry, '' end
    local held, used, firstMs, lastMs, slots = 0, 0, 0, 0, {}
    for slot = first, newest - 4, 4 do
      local slotUsed, slotHeld = s[slot + 2], s[slot + 3]
      slots[#slots + 1] = packNumbers(SLOT, s[slot], s[slot + 1], slotHeld, slotUsed)
      held, used = held + slotHeld, used + slotUsed
      if slotHeld + slotUsed ~= 0 then
        if firstMs == 0 then firstMs = s[slot + 1] end
        lastMs = s[slot + 1]
      end
    end
    return entry .. packNumbers(OLDER, held, used, firstMs, lastMs), table.concat(slots)
  end

  save = function(key, s, tail, openBytes)
    local last, at, entries, older = s[3], 6, {}, {}
    while at < last do
      local length = s[at + 1]
      if length > 0 then entries[#entries + 1], older[#older + 1] = packEntry(s, at) end
      at = at + 2 + length
    end
    local tombstones = (#tail - openBytes) / TOMBSTONE_BYTES
    if openBytes == 0 then s[4] = 0 end
    if s[2] > TIME_MAX then s[2] = TIME_MAX end
    local untilMs = s[2]
    if s[4] > untilMs then untilMs = s[4] end
    if s[5] > untilMs then untilMs = s[5] end
    if tombstones > 0 and clockMs + CLOSED_MEMORY_MS > untilMs then untilMs = clockMs + CLOSED_MEMORY_MS end
    local keptUntilMs, text = keepUntil(untilMs, s.keptUntilMs)
    local body = table.concat(entries)
    local header = packNumbers(HEADER, LAYOUT, s[1], s[2], s[4], s[5], openBytes, tombstones, keptUntilMs, HEADER_BYTES + #body)
    write(key, header .. body .. table.concat(older) .. tail, text)
  end
end
