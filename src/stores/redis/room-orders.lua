--[[
Orders of the waiting room: sorted sets that are read from their front, a piece at a time, and written once at the end of a run, or before more of
one is read. What is changed meanwhile is known here.

An order: members and scores of its front from `first` to `last`, all of it where `isWhole`; `at` has the scores of these by member; `adds` and `drops`
are still to be written.
]]
local KEEP_MS = '7200000'
local touch, callWithAll, orderOf, readOrder, putIn, dropFrom, firstIn, addFrom, writeOrders
do
  -- So many arguments are given to a command at most: the stack of Lua ends at 8,000.
  local ARGUMENTS_MAX = 1000

  local touched = {}
  touch = function(key)
    if touched[key] then return end
    touched[key] = true
    call('PEXPIRE', ROOM .. key, KEEP_MS)
  end

  -- Runs a command on `key` with all of `arguments`, which come in groups of two at most.
  callWithAll = function(command, key, arguments)
    for from = 1, #arguments, ARGUMENTS_MAX do
      local to = from + ARGUMENTS_MAX - 1
      call(command, ROOM .. key, spread(arguments, from, to < #arguments and to or #arguments))
    end
  end

  -- A score with every digit; whole numbers are written several times as fast.
  local function score(number)
    if number % 1 == 0 and number < 2 ^ 53 then return format('%d', number) end
    return format('%.17g', number)
  end

  local orders = {}
  orderOf = function(key)
    local order = orders[key]
    if not order then
      order = { key = key, adds = {}, drops = {}, at = {}, first = 1, last = 0, isRead = false, isWhole = false, isChanged = false, members = {}, scores = {} }
      orders[key] = order
    end
    return order
  end

  local function writeOrder(order)
    if not order.isChanged then return end
    local key, drops, adds, size = order.key, {}, {}, 0
    for member in pairs(order.drops) do drops[#drops + 1] = member end
    for member, number in pairs(order.adds) do
      adds[size + 1], adds[size + 2] = score(number), member
      size = size + 2
    end
    if #drops > 0 then callWithAll('ZREM', key, drops) end
    if size > 0 then
      callWithAll('ZADD', key, adds)
      touch(key)
    end
    order.adds, order.drops, order.isChanged = {}, {}, false
  end

  readOrder = function(order, count)
    writeOrder(order)
    local found, at, size = call('ZRANGE', ROOM .. order.key, 0, count - 1, 'WITHSCORES'), {}, 0
    local members, scores = {}, {}
    for i = 1, #found, 2 do
      size = size + 1
      local number = tonumber(found[i + 1])
      members[size], scores[size], at[found[i]] = found[i], number, number
    end
    order.members, order.scores, order.at, order.first, order.last = members, scores, at, 1, size
    order.isRead, order.isWhole = true, size < count
  end

  local function takeFromFront(order, member)
    order.at[member] = nil
    local members, first = order.members, order.first
    if members[first] == member then
      order.first = first + 1
      return
    end
    local place = first
    while members[place] ~= member do place = place + 1 end
    table.remove(members, place)
    table.remove(order.scores, place)
    order.last = order.last - 1
  end

  local function putInFront(order, number, member)
    local members, scores, place, first = order.members, order.scores, order.last, order.first
    if not order.isWhole and (place < first or number > scores[place] or (number == scores[place] and member > members[place])) then return end
    while place >= first and (scores[place] > number or (scores[place] == number and members[place] > member)) do place = place - 1 end
    table.insert(members, place + 1, member)
    table.insert(scores, place + 1, number)
    order.last, order.at[member] = order.last + 1, number
  end

  putIn = function(order, number, member)
    order.adds[member], order.drops[member], order.isChanged = number, nil, true
    if not order.isRead then return end
    local known = order.at[member]
    if known == number then return end
    if known then takeFromFront(order, member) end
    putInFront(order, number, member)
  end

  dropFrom = function(order, member)
    order.adds[member], order.drops[member], order.isChanged = nil, true, true
    if order.at[member] then takeFromFront(order, member) end
  end

  -- The first of an order, and its score.
  firstIn = function(order)
    local first = order.first
    if first > order.last and not order.isWhole then
      readOrder(order, 1)
      first = order.first
    end
    if first <= order.last then return order.members[first], order.scores[first] end
  end

  -- Puts up to `count` members behind the first `skipped` in a list.
  addFrom = function(order, skipped, count, list)
    if not order.isWhole and order.last - order.first + 1 < skipped + count then readOrder(order, skipped + count) end
    local from = order.first + skipped
    local to = from + count - 1
    for place = from, to < order.last and to or order.last do list[#list + 1] = order.members[place] end
  end

  writeOrders = function()
    for _, order in pairs(orders) do writeOrder(order) end
  end
end
