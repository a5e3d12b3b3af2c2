--[[
  What can be done with a limiter. Of its kind it knows forget_old, room, take, give_back, held_until, used and
  matters_for.

  Those who wait are let in by whoever makes room: in order, and each is told on the channel of its owner. What time
  alone makes room for is let in by the owner of whoever is first; it is told when to look, and all others look a
  little later than that, in case it is gone.
]]
local OTHERS_LOOK_LATER_MS = 250
local let_in = {}

local function waits()
  return redis.call('ZCARD', KEYS[2]) > 0
end

local function stop_waiting(id)
  redis.call('ZREM', KEYS[3], id)
  return redis.call('ZREM', KEYS[2], id) == 1
end

local function wait_from_now(id, wait_ms, number)
  redis.call('ZADD', KEYS[2], number, id)
  redis.call('ZADD', KEYS[3], now + wait_ms, id)
  keep_for(KEYS[2], wait_ms + IDLE_MS)
  keep_for(KEYS[3], wait_ms + IDLE_MS)
end

local function tell(id, text)
  local heard = redis.call('PUBLISH', CHANNEL .. parse(id), text)
  return heard > 0 or not counts_listeners
end

local function let_in_first(id)
  local _, lease_ms, wait_ms, cost = parse(id)
  local came_at = (tonumber(redis.call('ZSCORE', KEYS[3], id)) or now) - wait_ms
  stop_waiting(id)
  lease_ms = math.min(lease_ms, GRANT_MS)
  if tell(id, 'granted ' .. text_of(now + lease_ms) .. ' ' .. id) then
    take(id, cost, lease_ms)
    let_in[id] = true
    add('waited', 1)
    add('waitMs', math.max(0, math.floor(now - came_at)))
  end
end

local function give_up_late()
  local late = redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now)
  for _, id in ipairs(late) do
    if stop_waiting(id) then
      add('overages', 1)
    end
  end
end

--- Lets in whom there is room for. Returns in how many ms the caller should look again, -1: nobody waits.
local function serve()
  local first_before = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
  if not first_before then
    return -1
  end
  give_up_late()
  while true do
    local first = redis.call('ZRANGE', KEYS[2], 0, 0)[1]
    if not first then
      return -1
    end
    local owner, _, _, cost = parse(first)
    local wait_ms = room(cost)
    if wait_ms == 0 then
      let_in_first(first)
    elseif owner == caller then
      return wait_ms
    elseif not IS_TIMED or (first == first_before and operation ~= 'leave' and operation ~= 'free') then
      return wait_ms + OTHERS_LOOK_LATER_MS
    elseif tell(first, 'look ' .. text_of(wait_ms) .. ' ' .. name) then
      return wait_ms + OTHERS_LOOK_LATER_MS
    else
      stop_waiting(first)
    end
  end
end

local function granted(id, lease_ms)
  local ends_at = tonumber(held_until(id)) or now + lease_ms
  return { 'granted', text_of(ends_at) }
end

local OPERATIONS = {}

--- id, mode, number. Mode `wait`: in the queue if need be; `ask`: not yet, it will be asked again; `once`: never.
--- A number is the place of one that waited before.
function OPERATIONS.acquire()
  local id, mode, number = ARGV[7], ARGV[8], ARGV[9]
  local _, lease_ms, wait_ms, cost = parse(id)
  forget_old()
  -- this same call came before, and its answer was lost
  if held_until(id) then
    return granted(id, lease_ms)
  end
  local waits_already = redis.call('ZSCORE', KEYS[2], id)
  if number ~= '' and not waits_already then
    wait_from_now(id, wait_ms, number)
    waits_already = number
  end
  local look_ms = serve()
  if let_in[id] then
    return granted(id, lease_ms)
  end
  if waits_already then
    return { 'waits', tostring(waits_already), text_of(look_ms) }
  end
  local room_ms = room(cost)
  if room_ms == 0 and look_ms == -1 then
    take(id, cost, lease_ms)
    add('immediate', 1)
    return granted(id, lease_ms)
  end
  local is_in_vain = WAIT_IS_CERTAIN and room_ms > wait_ms
  if mode == 'wait' and not is_in_vain then
    add('lastNumber', 1)
    wait_from_now(id, wait_ms, number_in('lastNumber'))
    return { 'waits', tostring(number_in('lastNumber')), text_of(look_ms == -1 and room_ms or look_ms) }
  end
  if mode == 'ask' and not is_in_vain then
    return { 'ask again' }
  end
  add('overages', 1)
  return { 'refused', IS_TIMED and text_of(math.max(1, room_ms, look_ms)) or '-1' }
end

--- id, how long it was held in ms.
function OPERATIONS.release()
  if give_back(ARGV[7]) then
    add('holds', 1)
    add('holdMs', tonumber(ARGV[8]))
  end
  if waits() then
    forget_old()
    serve()
  end
  return {}
end

--- id, when it was taken, the counter that counted it. As if it had never been.
function OPERATIONS.cancel()
  local _, _, _, cost = parse(ARGV[7])
  if give_back(ARGV[7], cost, tonumber(ARGV[8])) then
    add(ARGV[9], -1)
  end
  forget_old()
  serve()
  return {}
end

--- id, what it took in truth.
function OPERATIONS.used()
  local _, _, _, cost = parse(ARGV[7])
  give_back(ARGV[7], cost - tonumber(ARGV[8]))
  serve()
  return {}
end

--- ids. Returns those that are lost: their lease ended, and others have it.
function OPERATIONS.renew()
  local lost = {}
  forget_old()
  for at = 7, #ARGV do
    local _, lease_ms, _, cost = parse(ARGV[at])
    if held_until(ARGV[at]) or room(cost) == 0 then
      take(ARGV[at], cost, lease_ms)
    else
      lost[#lost + 1] = ARGV[at]
    end
  end
  serve()
  return { lost }
end

--- `count` or '', id. Returns `granted` if it was let in meanwhile, else what it was.
function OPERATIONS.leave()
  local id = ARGV[8]
  local answer = { 'absent' }
  if stop_waiting(id) then
    answer = { 'left' }
    if ARGV[7] == 'count' then
      add('overages', 1)
    end
  elseif held_until(id) then
    local _, lease_ms = parse(id)
    answer = granted(id, lease_ms)
  end
  forget_old()
  serve()
  return answer
end

--- ids of the caller's that wait, as far as it knows. Returns when to look again, and of each whether that is so.
function OPERATIONS.look()
  forget_old()
  local states = {}
  local look_ms = serve()
  for at = 7, #ARGV do
    local id = ARGV[at]
    if redis.call('ZSCORE', KEYS[2], id) then
      states[#states + 1] = 'waits'
    else
      states[#states + 1] = held_until(id) or (let_in[id] and text_of(now)) or 'absent'
    end
  end
  return { text_of(look_ms), states }
end

--- The beginning of the owners' names. Returns how many leases were theirs.
function OPERATIONS.free()
  local prefix = ARGV[7]
  local function each_own(key, act)
    for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do
      if string.sub(id, 1, #prefix) == prefix then
        act(id)
      end
    end
  end
  forget_old()
  local freed = 0
  each_own(KEYS[2], stop_waiting)
  if not IS_TIMED then
    each_own(KEYS[4], function(id)
      give_back(id)
      freed = freed + 1
    end)
    add('reclaimed', freed)
  end
  serve()
  return { freed }
end

function OPERATIONS.status()
  local at_work = used()
  local _, _, _, cost = parse(ARGV[7])
  local counters = {}
  for _, field in ipairs({ 'immediate', 'waited', 'waitMs', 'holds', 'holdMs', 'overages', 'reclaimed' }) do
    counters[#counters + 1] = tostring(number_in(field))
  end
  local room_ms = room(cost)
  return {
    info.definition or definition,
    text_of(at_work),
    redis.call('ZCOUNT', KEYS[3], text_of(now), '+inf'),
    text_of(IS_TIMED and room_ms or 0),
    counters,
  }
end

--- Those who wait keep their places, and find it empty.
function OPERATIONS.reset()
  local last = number_in('lastNumber')
  redis.call('DEL', KEYS[1], KEYS[4])
  info, changed = {}, {}
  set('definition', definition)
  set('by', caller)
  set('bornAtMs', text_of(now - tonumber(ARGV[4])))
  set('seenAtMs', text_of(now))
  set('lastNumber', last)
  serve()
  return {}
end

local answer = OPERATIONS[operation]()
local fields = {}
for field, value in pairs(changed) do
  fields[#fields + 1] = field
  fields[#fields + 1] = value
end
if #fields > 0 then
  redis.call('HSET', KEYS[1], unpack(fields))
  keep_for(KEYS[1], math.max(IDLE_MS, matters_for()))
end
return { text_of(now), note, unpack(answer) }
