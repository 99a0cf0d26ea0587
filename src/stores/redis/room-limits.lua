--[[
What the waiting room asks of limits. Many calls of a run are over the same limits, so a subject is read once, changed in memory, and written at the
end of the run; whoever reads subjects otherwise must have `writeSubjects` called before.
]]

-- By key: state, tail, bytes of open reservations, and how long it is kept; state is nil where nothing is stored.
local known, changed = {}, {}

loadSubject = function(i)
  local key = KEYS[i]
  local subject = known[key]
  if not subject then
    subject = { keepMs = 0 }
    known[key] = subject
    local value = storedSubjects[key]
    if value == nil then value = call('GET', key) end
    if value then
      local tailAt
      subject.state, tailAt, subject.open = toState(value)
      subject.tail = sub(value, tailAt)
    end
  end
  states[i], tails[i], opens[i] = subject.state, subject.tail, subject.open
end

saveSubject = function(i)
  local key = KEYS[i]
  local subject = known[key]
  subject.state = states[i]
  if i == 1 then
    subject.tail, subject.open = openRecords .. tombstones, #openRecords
  else
    subject.tail, subject.open = tails[i] or '', opens[i] or 0
  end
  if a[4] > subject.keepMs then subject.keepMs = a[4] end
  changed[key] = subject
end

writeSubjects = function()
  for key, subject in pairs(changed) do
    a = { 0, 0, 0, subject.keepMs }
    save(key, subject.state, subject.tail, subject.open)
  end
  changed = {}
end
