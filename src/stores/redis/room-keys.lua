-- The parts that decide over limits look for a call's keys in KEYS. Here calls come out of the waiting room as well, with keys of their own.
local ROOM, KEYS, ceil, expectedWait = KEYS[1], {}, math.ceil, nil
-- See room-limits.lua.
local attemptKnown, writeSubjects
-- How the room stands, as it is stored.
local storedRoom = redis.call('GET', ROOM .. 'r')

-- Mostly calls end while nobody waits: that is known before anything else is made.
local function nobodyIsConcerned()
  if storedRoom and cmsgpack.unpack(storedRoom).waiting > 0 then return nil end
  local replies, at = { '-1' }, 3
  while ARGV[at] do
    if ARGV[at] ~= 'f' then return nil end
    local _, band = struct.unpack('<dd', ARGV[at + 2])
    if band > 0 then return nil end
    replies[#replies + 1] = 0
    at = at + 2 + tonumber(ARGV[at + 1])
  end
  return replies
end
if ARGV[3] == 'f' then
  local replies = nobodyIsConcerned()
  if replies then return replies end
end
