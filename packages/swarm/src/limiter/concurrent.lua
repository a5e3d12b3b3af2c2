--[[
  At most `limit` leases at once. KEYS[4]: sorted set, id of the holder → when its lease ends.
]]
local limit = params[1]
-- room may come at any time, by a release
local IS_TIMED, WAIT_IS_CERTAIN = false, false

local function forget_old()
  local ended = redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
  if ended > 0 then
    add('reclaimed', ended)
  end
end

--- 0, or ms until there may be room if nobody does anything.
local function room()
  if redis.call('ZCARD', KEYS[4]) < limit then
    return 0
  end
  local first = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  return math.max(1, first[2] - now)
end

local function take(id, _, lease_ms)
  redis.call('ZADD', KEYS[4], now + lease_ms, id)
  keep_for(KEYS[4], lease_ms)
end

local function give_back(id)
  return redis.call('ZREM', KEYS[4], id) == 1
end

--- When the lease ends; false: it is not held.
local function held_until(id)
  return redis.call('ZSCORE', KEYS[4], id)
end

local function used()
  return redis.call('ZCOUNT', KEYS[4], text_of(now), '+inf')
end

--- For how long what is kept means anything, ms.
local function matters_for()
  return math.max(0, redis.call('PTTL', KEYS[4]))
end
