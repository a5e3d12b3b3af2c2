--[[
  Which active jobs of one queue were a dead child's, and what each is blamed for so far.

  KEYS[1] the queue's active list
  ARGV[1] prefix of the queue's job keys, `bull:mail:`
  ARGV[2] a lock token for jobs that the child reported and whose lock is gone; '' without such jobs
  ARGV[3] how long that lock lasts, ms
  ARGV[4] number of token prefixes, then these
  the rest: ids of jobs that the child last reported

  Returns { id, token, name, swarmExact, swarmShared, swarmDeaths } of each: with that token, and no other,
  it can be moved.
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

local function is_own(token)
  -- borrowed by a releaser before, which did not come to the end of it
  if token == ARGV[2] then
    return true
  end
  for _, prefix in ipairs(prefixes) do
    if string.sub(token, 1, #prefix) == prefix then
      return true
    end
  end
  return false
end

local held = {}
for _, id in ipairs(active) do
  local key = ARGV[1] .. id
  local token = redis.call('GET', key .. ':lock')
  if not token and reported[id] then
    -- nobody else can take the job while this lock is there
    redis.call('SET', key .. ':lock', ARGV[2], 'PX', ARGV[3])
    token = ARGV[2]
  end
  if token and is_own(token) then
    local fields = redis.call('HMGET', key, 'name', 'swarmExact', 'swarmShared', 'swarmDeaths')
    held[#held + 1] = { id, token, fields[1], fields[2], fields[3], fields[4] }
  end
end
return held
