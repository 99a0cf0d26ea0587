-- Runs the calls one after the other: the fast part where it can, else the general one.
local plans, replies, general = {}, {}, nil
local plansEnd = 2 + tonumber(ARGV[2])
for i = 3, plansEnd do
  local numbers = unpackAll(DOUBLES, 1, 8, ARGV[i], 1, #ARGV[i] / 8)
  local charges = 0
  for subject = 1, numbers[5] do charges = charges + numbers[6 + subject] end
  plans[i - 3] = { numbers = numbers, charges = charges, first = 7 + numbers[5], last = 7 * charges + numbers[5] }
end
for i = plansEnd + 1, #ARGV do
  request = ARGV[i]
  local plan = plans[byte(request)]
  local charges, first, last = plan.charges, plan.first, plan.last
  id, a = sub(request, 2, 13), plan.numbers
  local amounts, needs = unpackAll(DOUBLES, 1, 8, request, 14, charges), nil
  if #request > 13 + 8 * charges then needs = unpackAll(DOUBLES, 1, 8, request, 14 + 8 * charges, charges) end
  local charge = 1
  for p = first, last, 7 do
    local amount = amounts[charge]
    a[p + 5], a[p + 6] = needs and needs[charge] or amount, amount
    charge = charge + 1
  end
  local reply = fast()
  if not reply then
    general = general or makeGeneral()
    reply = general()
  end
  replies[i - plansEnd] = reply
  keysBefore = keysBefore + a[5] + (a[6] >= 4 and 1 or 0)
end
return replies
