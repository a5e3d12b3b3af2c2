--[[
  At most `limit` leases at once. KEYS[3]: sorted set, id of the holder → when its lease ends.
]]
local limit = params[1]
-- room may come at any time, by a release
local IS_TIMED, WAIT_IS_CERTAIN = false, false
local held

local function count_held()
  held = held or call('ZCARD', KEYS[3])
  return held
end

local function forget_old()
  local ended = call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text_of(now))
  if ended > 0 then
    held = nil
    add('reclaimed', ended)
  end
end

--- 0, or more: in how many ms there may be room if nobody does anything is said by next_end().
local function room()
  return count_held() < limit and 0 or 1
end

local function next_end()
  local first = call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')
  return first[2] and math.max(1, first[2] - now) or 1
end

local function take(id, _, lease_ms)
  if count_held() == 0 then
    new_keys[#new_keys + 1] = KEYS[3]
  end
  held = held + call('ZADD', KEYS[3], text_of(now + lease_ms), id)
  need(lease_ms)
end

local function give_back(id)
  local given = call('ZREM', KEYS[3], id) == 1
  held = nil
  return given
end

--- When the lease ends; false: it is not held.
local function held_until(id)
  return call('ZSCORE', KEYS[3], id)
end

--- Whether it was held, or nobody else has it.
local function extend(id, lease_ms)
  if call('ZADD', KEYS[3], 'XX', 'CH', text_of(now + lease_ms), id) == 1 then
    need(lease_ms)
    return true
  end
  forget_old()
  if room() > 0 then
    return false
  end
  take(id, 1, lease_ms)
  return true
end

local function note_caller()
  if call('ZADD', KEYS[4], text_of(now), caller) == 1 then
    new_keys[#new_keys + 1] = KEYS[4]
  end
end

--- For how long somebody who waited is let in.
local function first_lease_ms(owner, lease_ms)
  local seen_at = call('ZSCORE', KEYS[4], owner)
  if seen_at and now - seen_at < ALIVE_MS then
    return lease_ms
  end
  return math.min(lease_ms, GRANT_MS)
end

local function used()
  return call('ZCOUNT', KEYS[3], text_of(now), '+inf')
end
