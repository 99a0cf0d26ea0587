-- Runs the calls one after the other: the fast part where it can, else the general one.
local replies, general = {}, nil
for i = 2, #ARGV do
  local request = ARGV[i]
  id, a = sub(request, 1, 12), unpackAll(DOUBLES, 1, 8, request, 13, (#request - 12) / 8)
  local reply = fast()
  if not reply then
    general = general or makeGeneral()
    reply = general()
  end
  replies[i - 1] = reply
  keysBefore = keysBefore + a[5] + (a[6] >= 4 and 2 or 1)
end
return replies
