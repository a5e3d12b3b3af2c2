--[[
  What can be done with a limiter. Of its kind it knows forget_old, room, take, give_back and used; where there are
  leases, also held_until, extend, next_end, note_caller and first_lease_ms.

  Those who wait are let in by whoever makes room: in order, and each is told on the channel of its owner. What time
  alone makes room for is let in by the owner of whoever is first; it is told when to look, and all others look a
  little later than that, in case it is gone.
]]
local OTHERS_LOOK_LATER_MS = 250
local let_in = {}

local function stop_waiting(id)
  return call('ZREM', KEYS[2], id) == 1
end

local function wait_at(place, id)
  if call('EXISTS', KEYS[2]) == 0 then
    new_keys[#new_keys + 1] = KEYS[2]
  end
  call('ZADD', KEYS[2], place, id)
end

local function next_place()
  local place = math.max(now_us, number_in('lastPlace') + 1)
  set('lastPlace', string.format('%.0f', place))
  return info.lastPlace
end

local function tell(owner, text)
  local heard = call('PUBLISH', CHANNEL .. owner, text)
  return heard > 0 or not counts_listeners
end

--- Who is first in the queue: its id, its place, and what the id says.
local function first_waiting()
  local first = call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  if first[1] then
    return first[1], tonumber(first[2]), parse(first[1])
  end
end

--- Lets in whom there is room for. Returns who is first then, if anybody, and its owner.
local function serve()
  local old_first
  while true do
    local first, place, owner, lease_ms, wait_ms, cost = first_waiting()
    if not first then
      return nil
    end
    if not old_first then
      old_first = first
      forget_old()
    end
    local room_ms = room(cost)
    if room_ms == 0 then
      stop_waiting(first)
      local waited_ms = now - place / 1000
      lease_ms = IS_TIMED and 0 or first_lease_ms(owner, lease_ms)
      if waited_ms > wait_ms then
        add('overages', 1)
      elseif tell(owner, 'granted ' .. text_of(now + lease_ms) .. ' ' .. first) then
        take(first, cost, lease_ms)
        let_in[first] = now + lease_ms
        add('waited', 1)
        add('waitMs', math.max(0, math.floor(waited_ms)))
      end
    else
      local is_new = first ~= old_first or operation == 'leave' or operation == 'free'
      if not IS_TIMED or owner == caller or not is_new
        or tell(owner, 'look ' .. text_of(room_ms) .. ' ' .. name) then
        return first, owner, room_ms
      end
      stop_waiting(first)
    end
  end
end

--- In how many ms the caller should look again.
local function look_after(owner, room_ms)
  if not IS_TIMED then
    room_ms = next_end()
  end
  return owner == caller and room_ms or room_ms + OTHERS_LOOK_LATER_MS
end

--- id, mode, place. Mode `wait`: in the queue if need be; `ask`: it will be asked again, at the place that it is
--- given; `once`: never. Place: '' or that of one that waited before.
local function acquire(id, mode, place)
  local _, lease_ms, wait_ms, cost = parse(id)
  need(lease_ms + wait_ms)
  if not IS_TIMED then
    note_caller()
  end
  if place ~= '' then
    wait_at(place, id)
  end
  local first, owner, first_room_ms = serve()
  if let_in[id] then
    return { 'granted', text_of(let_in[id]) }
  end
  if place == '' and not first then
    forget_old()
    if room(cost) == 0 then
      take(id, cost, lease_ms)
      add('immediate', 1)
      return { 'granted', text_of(now + lease_ms) }
    end
  end
  -- this same call came before, and its answer was lost
  local ends_at = not IS_TIMED and held_until(id)
  if ends_at then
    return { 'granted', ends_at }
  end
  local room_ms = first_room_ms or room(cost)
  local is_in_vain = WAIT_IS_CERTAIN and room_ms > wait_ms
  if place == '' and (mode == 'once' or is_in_vain) then
    add('overages', 1)
    return { 'refused', IS_TIMED and text_of(math.max(1, room_ms)) or '-1' }
  end
  if place == '' then
    place = call('ZSCORE', KEYS[2], id) or next_place()
    if mode == 'ask' then
      return { 'ask again', place }
    end
    wait_at(place, id)
  end
  return { 'waits', place, text_of(look_after(owner or caller, room_ms)) }
end

--- id, when it was taken, the counter that counted it. As if it had never been.
local function cancel(id, taken_at, counter)
  local _, _, _, cost = parse(id)
  if give_back(id, cost, tonumber(taken_at)) then
    add(counter, -1)
  end
  serve()
  return {}
end

--- id, what it took in truth.
local function correct(id, cost)
  local _, _, _, estimate = parse(id)
  give_back(id, estimate - tonumber(cost))
  serve()
  return {}
end

--- ids. Returns those that are lost: their lease ended, and others have it.
local function renew(...)
  local lost = {}
  for _, id in ipairs({ ... }) do
    local _, lease_ms = parse(id)
    if not extend(id, lease_ms) then
      lost[#lost + 1] = id
    end
  end
  return { lost }
end

--- `count` or '', id. Returns `granted` if it was let in meanwhile, else what it was.
local function leave(counts, id)
  local answer = { 'absent' }
  if stop_waiting(id) then
    answer = { 'left' }
    if counts == 'count' then
      add('overages', 1)
    end
  else
    local ends_at = not IS_TIMED and held_until(id)
    -- what has ended may still be in its place
    if ends_at and tonumber(ends_at) > now then
      answer = { 'granted', ends_at }
    end
  end
  serve()
  return answer
end

--- ids of the caller's that wait, as far as it knows. Returns when to look again, and of each whether that is so.
local function look(...)
  local states = {}
  local first, owner, room_ms = serve()
  for at, id in ipairs({ ... }) do
    if let_in[id] then
      states[at] = text_of(let_in[id])
    elseif call('ZSCORE', KEYS[2], id) then
      states[at] = 'waits'
    else
      states[at] = not IS_TIMED and held_until(id) or 'absent'
    end
  end
  return { first and text_of(look_after(owner, room_ms)) or '-1', states }
end

--- The beginning of the owners' names. Returns how many leases were theirs.
local function free(prefix)
  local function each_own(key, act)
    for _, id in ipairs(call('ZRANGE', key, 0, -1)) do
      if string.sub(id, 1, #prefix) == prefix then
        act(id)
      end
    end
  end
  local freed = 0
  each_own(KEYS[2], stop_waiting)
  if not IS_TIMED then
    forget_old()
    each_own(KEYS[3], function(id)
      give_back(id)
      freed = freed + 1
    end)
    add('reclaimed', freed)
  end
  serve()
  return { freed }
end

--- Changes nothing.
local function status(id)
  local _, _, _, cost = parse(id)
  local counters = {}
  for _, field in ipairs({ 'immediate', 'waited', 'waitMs', 'holds', 'holdMs', 'overages', 'reclaimed' }) do
    counters[#counters + 1] = tostring(number_in(field))
  end
  return {
    info.definition or definition,
    text_of(used()),
    call('ZCARD', KEYS[2]),
    text_of(IS_TIMED and room(cost) or 0),
    counters,
  }
end

--- Those who wait keep their places, and find it empty.
local function reset()
  local last = info.lastPlace
  call('DEL', KEYS[1], KEYS[3], KEYS[4] or KEYS[3])
  info, changed = {}, {}
  enforce(now - tonumber(ARGV[4]))
  set('lastPlace', last or '0')
  serve()
  return {}
end

--- Nothing is kept for ever: a limiter is gone when it has not been used for a while.
local function keep()
  local until_ms = number_in('keptUntilMs')
  if until_ms < now + needed_ms then
    local keep_ms = needed_ms + IDLE_MS
    set('keptUntilMs', text_of(now + keep_ms))
    until_ms, new_keys = now + keep_ms, KEYS
    if KEYS[4] then
      call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text_of(now - MINUTE_MS))
    end
  end
  if #changed > 0 then
    call('HSET', KEYS[1], unpack(changed))
  end
  for _, key in ipairs(new_keys) do
    call('PEXPIRE', key, math.ceil(until_ms - now))
  end
end

local operations = {
  acquire = acquire,
  cancel = cancel,
  used = correct,
  renew = renew,
  leave = leave,
  look = look,
  free = free,
  reset = reset,
}

if operation == 'status' then
  return { text_of(now), note, unpack(status(ARGV[7])) }
end
local answer = operations[operation](unpack(ARGV, 7))
keep()
return { text_of(now), note, unpack(answer) }
