--[[
  At most `limit` in any stretch of `window_ms`. KEYS[4]: sorted set, id → when it was let in.
]]
local limit, window_ms = params[1], params[2]
local IS_TIMED, WAIT_IS_CERTAIN = true, true

local function forget_old()
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', text_of(now - window_ms))
end

--- Until the one leaves whose going makes room.
local function room()
  local used = redis.call('ZCARD', KEYS[4])
  if used < limit then
    return 0
  end
  local last = redis.call('ZRANGE', KEYS[4], used - limit, used - limit, 'WITHSCORES')
  return math.max(0, last[2] + window_ms - now)
end

local function take(id)
  redis.call('ZADD', KEYS[4], text_of(now), id)
  keep_for(KEYS[4], window_ms + 1)
end

local function give_back(id)
  return redis.call('ZREM', KEYS[4], id) == 1
end

local function held_until()
  return false
end

local function used()
  return redis.call('ZCOUNT', KEYS[4], '(' .. text_of(now - window_ms), '+inf')
end

local function matters_for()
  return math.max(0, redis.call('PTTL', KEYS[4]))
end
