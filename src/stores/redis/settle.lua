--[[
Ends reservations: settles (step 0), releases (step 1), or gives up what one blocks after it has expired (step 2).

KEYS    see subject-state.lua
ARGV    see subject-state.lua
Output  for each call 0 settled, 1 already, 2 unknown
]]
local mode, instance

local function settleOne(s, p, name, held, used, nowMs)
  local entry = findEntry(s, a[p + 1])
  if entry == 0 then return end
  local algorithm = a[p]
  if algorithm == 1 then settleRolling(s, entry, name, held, used)
  elseif algorithm == 2 then settleBucket(s, entry, p, held, used, nowMs)
  elseif algorithm == 3 then settleCalendar(s, entry, name, held, used)
  else chargeConcurrency(s, p, instance, -held) end
end

-- Of a reservation that is given up only what it blocks comes back.
local function settle(list)
  local charge, p = 0, 7 + subjects
  followClock(states)
  for i = 1, subjects do
    local s = states[i]
    if not s then
      s = newState()
      states[i] = s
    end
    local nowMs = effectiveNow(s)
    for _ = 1, a[6 + i] do
      local open = a[p + 5]
      for at = 1, #list, 3 do
        if list[at] == charge and (mode < 2 or list[at + 1] == BLOCKS) then
          local held = list[at + 2]
          local used = open < held and open or held
          open = open - used
          settleOne(s, p, list[at + 1], held, used, nowMs)
        end
      end
      if open > 0 and a[p] ~= 4 then addTo(s, p, open, 0, nowMs) end
      charge = charge + 1
      p = p + 7
    end
    -- A state without a limit is only there to remember the reservation, and has no time of its own.
    if s[3] > 5 or s[1] > 0 then s[1] = nowMs end
  end
end

return function()
  mode, instance = a[1], unpackNumbers('<I6', id)
  lookUp()
  if standing == 'closed' then return 1 end
  if mode == 2 and (standing == 'none' or expiresMs > clockMs) then return 2 end

  local isKnown = standing == 'open'
  dropRecord()
  if isKnown or mode == 0 then settle(holds or {}) end
  if not states[1] then states[1] = newState() end
  if mode < 2 then
    local buried = not hasOverflow and bury(tombstones)
    if buried then
      tombstones = buried
    else
      saveOverflow(toRecord(-1, clockMs + CLOSED_MEMORY_MS, {}), clockMs + CLOSED_MEMORY_MS)
    end
  elseif hasOverflow then
    call('DEL', overflowKey())
  end

  saveSubject(1)
  if isKnown or mode == 0 then
    for i = 2, subjects do
      if states[i][1] > 0 then saveSubject(i) end
    end
  end
  return isKnown and 0 or 2
end
