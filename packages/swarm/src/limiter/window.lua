--[[
  At most `limit` in any stretch of `window_ms`. KEYS[3]: sorted set, id → when it was let in.
]]
local limit, window_ms = params[1], params[2]
local IS_TIMED, WAIT_IS_CERTAIN = true, true
local let_in_lately

local function count_let_in()
  let_in_lately = let_in_lately or call('ZCARD', KEYS[3])
  return let_in_lately
end

local function forget_old()
  call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text_of(now - window_ms))
end

--- Until the one leaves whose going makes room.
local function room()
  local count = count_let_in()
  if count < limit then
    return 0
  end
  local last = call('ZRANGE', KEYS[3], count - limit, count - limit, 'WITHSCORES')
  return math.max(0, last[2] + window_ms - now)
end

local function take(id)
  if count_let_in() == 0 then
    new_keys[#new_keys + 1] = KEYS[3]
  end
  let_in_lately = let_in_lately + call('ZADD', KEYS[3], text_of(now), id)
  need(window_ms)
end

local function give_back(id)
  let_in_lately = nil
  return call('ZREM', KEYS[3], id) == 1
end

local function used()
  return call('ZCOUNT', KEYS[3], '(' .. text_of(now - window_ms), '+inf')
end
