--[[
  Makes a lease that was granted for a moment as long as it was asked for. Returns { Redis's time, 1 }, or 0
  instead of 1 if it has ended.

  KEYS[1] the leases; ARGV[1] id, ARGV[2] its length in ms
]]
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local ends_at = string.format('%.3f', now + ARGV[2])
return { string.format('%.3f', now), redis.call('ZADD', KEYS[1], 'XX', 'CH', ends_at, ARGV[1]) }
