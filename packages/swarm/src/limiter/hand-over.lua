--[[
  Gives back a lease of a concurrent limiter, and hands it to whoever is first in the queue. The one thing that
  others wait for, so it does no more than that: what time makes room for is looked after by those who wait.

  KEYS as in head.lua: the hash, the queue, the leases, the owners
  ARGV[1] id of the lease, ARGV[2] how long it was held in ms
  ARGV[3] '1' if PUBLISH returns how many have heard it, ARGV[4] the caller's owner name

  Returns Redis's time.
]]
local call = redis.call
local ALIVE_MS, GRANT_MS = 1000, 2000
local time = call('TIME')
local now = time[1] * 1000 + time[2] / 1000
if not call('ZSCORE', KEYS[3], ARGV[1]) then
  return string.format('%.3f', now)
end
local info = call('HMGET', KEYS[1], 'holds', 'holdMs', 'waited', 'waitMs', 'overages', 'tooMany', 'definition')
local holds, hold_ms = (tonumber(info[1]) or 0) + 1, (tonumber(info[2]) or 0) + tonumber(ARGV[2])
local waited, wait_ms, overages = tonumber(info[3]) or 0, tonumber(info[4]) or 0, tonumber(info[5]) or 0

-- its place is not handed on while a new definition allows less than are at work
local is_free = true
if info[6] then
  local limit = tonumber(string.match(info[7] or '', ' (%d+)')) or 0
  is_free = call('ZCARD', KEYS[3]) <= limit
  if is_free then
    call('HDEL', KEYS[1], 'tooMany')
  end
end

while is_free do
  local first = call('ZPOPMIN', KEYS[2])
  local id = first[1]
  if not id then
    break
  end
  local owner, lease_ms, patience_ms = string.match(id, '^([^/]*)/%d+/(%d+)/(%d+)/')
  local waited_ms = now - first[2] / 1000
  if waited_ms > tonumber(patience_ms) then
    overages = overages + 1
  else
    local seen_at = call('ZSCORE', KEYS[4], owner)
    if not seen_at or now - seen_at >= ALIVE_MS then
      lease_ms = math.min(tonumber(lease_ms), GRANT_MS)
    end
    local ends_at = string.format('%.3f', now + lease_ms)
    local heard = call('PUBLISH', 'swarm:limit:wake:' .. owner, 'granted ' .. ends_at .. ' ' .. id)
    if heard > 0 or ARGV[3] ~= '1' then
      -- before the other leaves: an empty key would lose its time to live
      call('ZADD', KEYS[3], ends_at, id)
      waited, wait_ms = waited + 1, wait_ms + math.max(0, math.floor(waited_ms))
      is_free = false
    end
  end
end
call('ZREM', KEYS[3], ARGV[1])
-- of a set that is there: what began to exist here would be kept for ever
call('ZADD', KEYS[4], 'XX', string.format('%.3f', now), ARGV[4])
call('HSET', KEYS[1], 'holds', holds, 'holdMs', hold_ms, 'waited', waited, 'waitMs', wait_ms, 'overages', overages)
return string.format('%.3f', now)
