--[[
  Lets an idle Worker see that there are jobs: BullMQ adds no marker for a prioritized job that is put
  back, and a marker that a Worker took without fetching is gone.

  KEYS[1] marker, KEYS[2] meta, KEYS[3] wait, KEYS[4] prioritized, KEYS[5] delayed
]]
if redis.call('HEXISTS', KEYS[2], 'paused') == 1 then
  return 0
end
if redis.call('LLEN', KEYS[3]) + redis.call('ZCARD', KEYS[4]) + redis.call('ZCARD', KEYS[5]) > 0 then
  redis.call('ZADD', KEYS[1], 0, '0')
end
return 0
