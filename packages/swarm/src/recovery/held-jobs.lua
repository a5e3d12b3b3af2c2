--[[
  Which active jobs of one queue were a dead child's.

  KEYS[1] the queue's active list
  ARGV[1] prefix of the queue's job keys, `bull:mail:`
  ARGV[2] a lock token for jobs that the child reported and whose lock is gone
  ARGV[3] how long that lock lasts, ms
  ARGV[4] number of token prefixes, then these
  the rest: ids of jobs that the child last reported

  Returns id, token, id, token …: with that token, and no other, each can be moved.
]]
local active = redis.call('LRANGE', KEYS[1], 0, -1)
local prefixes, reported = {}, {}
local last = 4 + tonumber(ARGV[4])
for i = 5, last do
  prefixes[#prefixes + 1] = ARGV[i]
end
for i = last + 1, #ARGV do
  reported[ARGV[i]] = true
end

local held = {}
for _, id in ipairs(active) do
  local lock = ARGV[1] .. id .. ':lock'
  local token = redis.call('GET', lock)
  if token then
    for _, prefix in ipairs(prefixes) do
      if string.sub(token, 1, #prefix) == prefix then
        held[#held + 1] = id
        held[#held + 1] = token
        break
      end
    end
  elseif reported[id] then
    -- nobody else can take the job while this lock is there
    redis.call('SET', lock, ARGV[2], 'PX', ARGV[3])
    held[#held + 1] = id
    held[#held + 1] = ARGV[2]
  end
end
return held
