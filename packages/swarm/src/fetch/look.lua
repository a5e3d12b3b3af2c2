--[[
  What each of some queues has. One script for all of them, at a tenth of the price of a fetch that finds nothing.

  KEYS for each queue: wait, prioritized, delayed, active, meta, marker
  ARGV[1] now, epoch ms

  Returns for each queue: how many jobs can be fetched now, when its next delayed job is due (epoch ms, 0: none that is
  not due), 1 if it has a global concurrency. The marker of a queue without jobs says nothing any more: it is removed, so
  that nobody wakes up for it.
]]
local now = tonumber(ARGV[1])
local found = {}
for i = 1, #KEYS, 6 do
  local jobs = redis.call('LLEN', KEYS[i]) + redis.call('ZCARD', KEYS[i + 1])
  local due_at = 0
  local delayed = redis.call('ZRANGE', KEYS[i + 2], 0, 0, 'WITHSCORES')
  if delayed[2] then
    due_at = math.floor(tonumber(delayed[2]) / 0x1000)
    if due_at <= now then
      jobs = jobs + 1
      due_at = 0
    end
  end
  if jobs == 0 then
    redis.call('ZREM', KEYS[i + 5], '0')
  end
  local meta = redis.call('HMGET', KEYS[i + 4], 'paused', 'concurrency')
  local max = meta[2] and tonumber(meta[2])
  if jobs > 0 and (meta[1] or (max and redis.call('LLEN', KEYS[i + 3]) >= max)) then
    jobs = 0
  end
  found[#found + 1] = jobs
  found[#found + 1] = due_at
  found[#found + 1] = max and 1 or 0
end
return found
