--[[
  Lets an idle Worker see a prioritized job that was put back: BullMQ adds no marker for those.

  KEYS[1] prioritized, KEYS[2] meta, KEYS[3] marker
]]
if redis.call('ZCARD', KEYS[1]) > 0 and redis.call('HEXISTS', KEYS[2], 'paused') == 0 then
  redis.call('ZADD', KEYS[3], 0, '0')
end
return 0
