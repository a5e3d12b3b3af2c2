--[[
  Takes those active jobs of one queue that were a lost host's, and that nobody can still be running: their
  lock has missed a renewal, or run out. What is taken has a lock of ours, so that nobody is raced.

  KEYS[1] the queue's active list
  ARGV[1] prefix of the queue's job keys, `bull:mail:`
  ARGV[2] who takes
  ARGV[3] how long its lock lasts, ms
  ARGV[4] number of token prefixes, then each followed by the time, ms, that its locks have left at least
          while they are renewed; -1: none of them is to be taken
  the rest: ids of jobs that count although they have no lock: the host had reported them

  Returns id, token, ms, id, token, ms …: with that token the job can be moved; without one it is to be
  waited for, so many ms at least.
]]
local MARK = 'swarm:'
local tokens, reported = {}, {}
local last = 4 + 2 * tonumber(ARGV[4])
for i = 5, last, 2 do
  tokens[#tokens + 1] = { prefix = ARGV[i], below = tonumber(ARGV[i + 1]) }
end
for i = last + 1, #ARGV do
  reported[ARGV[i]] = true
end

local function starts(text, prefix)
  return string.sub(text, 1, #prefix) == prefix
end

local found = {}
local function add(id, token, ms)
  found[#found + 1] = id
  found[#found + 1] = token
  found[#found + 1] = ms
end

-- the prefix stays: whoever comes after a taker that died finds the job by it
local function take(id, lock, prefix)
  local token = prefix .. MARK .. ARGV[2]
  redis.call('SET', lock, token, 'PX', ARGV[3])
  add(id, token, 0)
end

for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
  local lock = ARGV[1] .. id .. ':lock'
  local held = redis.call('GET', lock)
  if held then
    for _, token in ipairs(tokens) do
      if starts(held, token.prefix) then
        local left = redis.call('PTTL', lock)
        local orphaned = starts(held, token.prefix .. MARK)
        if token.below >= 0 and (orphaned or (left >= 0 and left < token.below)) then
          take(id, lock, token.prefix)
        else
          add(id, '', math.max(0, left - token.below))
        end
        break
      end
    end
  elseif reported[id] and tokens[1] then
    take(id, lock, tokens[1].prefix)
  end
end
return found
