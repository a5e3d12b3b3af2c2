--[[
  The beginning of each limiter's script; the limiter's own part follows, then operations.lua.

  KEYS[1] hash: the definition in force, counters, a level where there is one
  KEYS[2] sorted set of those who wait: id → when it came (µs), made unique: its place
  KEYS[3] the limiter's own: who holds a lease, or when it was used
  KEYS[4] where there are leases, sorted set of owners: when each was last heard of

  ARGV[1] the operation
  ARGV[2] the caller's definition of the limiter, `concurrent 2`; without numbers: whatever is in force
  ARGV[3] the caller's owner name
  ARGV[4] how long ago the caller's process started, ms
  ARGV[5] '1' if PUBLISH returns how many have heard it; a cluster's node knows only of its own clients
  ARGV[6] the limiter's name
  the rest belongs to the operation

  An id is `owner/number/leaseMs/waitMs/cost`, so whoever finds it knows all about it. The channel of an owner
  is `swarm:limit:wake:<owner>`.

  Returns { Redis's time, what there is to say about the definition, … }.

  A release is what everybody waits for, and each call from a script costs microseconds: one read of the hash,
  one write, and no question whose answer is known.
]]
local call = redis.call
local time = call('TIME')
local now_us = time[1] * 1000000 + time[2]
-- with a fraction: ms are too coarse for what drains a thousand times a second
local now = now_us / 1000
local operation, definition, caller = ARGV[1], ARGV[2], ARGV[3]
local counts_listeners, name = ARGV[5] == '1', ARGV[6]

local MINUTE_MS = 60000
local IDLE_MS = 15 * MINUTE_MS
local SEEN_EVERY_MS = 5000
-- both in hand-over.lua, too: a waiter whose process was not heard of for so long is let in for a moment, and has to
-- say that it is there; then its lease is as long as it asked for
local ALIVE_MS, GRANT_MS = 1000, 2000
local CHANNEL = 'swarm:limit:wake:'

local FIELDS = { 'definition', 'by', 'bornAtMs', 'seenAtMs', 'keptUntilMs', 'lastPlace', 'immediate', 'waited', 'waitMs',
  'holds', 'holdMs', 'overages', 'reclaimed', 'level', 'levelAtMs' }
local info, changed = {}, {}
for at, value in ipairs(call('HMGET', KEYS[1], unpack(FIELDS))) do
  info[FIELDS[at]] = value or nil
end

local function number_in(field)
  return tonumber(info[field]) or 0
end

local function set(field, value)
  info[field] = value
  changed[#changed + 1] = field
  changed[#changed + 1] = value
end

local function add(field, by)
  set(field, number_in(field) + by)
end

local function text_of(number)
  return string.format('%.3f', number)
end

local function type_of(text)
  return string.match(text, '^%a+')
end

local function enforce(born)
  set('definition', definition)
  set('by', caller)
  set('bornAtMs', text_of(born))
  set('seenAtMs', text_of(now))
end

--[[
  One definition is in force: that of the process that started last, so that a deploy changes it. One that
  nobody has used for a minute gives way to any other, so that a script that came and went leaves no trace.
  In one process two definitions of one name are a mistake, and two kinds of limiter are anywhere.
]]
local function settle_definition()
  local stored = info.definition
  local born = now - tonumber(ARGV[4])
  if not stored then
    enforce(born)
    return ''
  end
  if stored == definition then
    if info.by ~= caller and born > number_in('bornAtMs') then
      enforce(born)
    elseif now - number_in('seenAtMs') > SEEN_EVERY_MS then
      set('seenAtMs', text_of(now))
    end
    return ''
  end
  local is_forgotten = number_in('seenAtMs') < now - MINUTE_MS
  if type_of(stored) ~= type_of(definition) then
    if not is_forgotten or call('EXISTS', KEYS[2]) > 0 then
      return 'conflict ' .. stored
    end
    set('level', '')
  elseif info.by == caller and not is_forgotten then
    return 'conflict ' .. stored
  end
  if is_forgotten or born > number_in('bornAtMs') then
    enforce(born)
    -- for hand-over.lua: there may be more at work than are allowed now
    set('tooMany', '1')
    return 'replaced ' .. stored
  end
  return 'overruled ' .. stored
end

local note = ''
if type_of(definition) == definition then
  if not info.definition or type_of(info.definition) ~= definition then
    return { text_of(now), 'unknown' }
  end
elseif operation == 'status' then
  if info.definition and type_of(info.definition) ~= type_of(definition) then
    note = 'conflict ' .. info.definition
  end
elseif operation ~= 'reset' then
  note = settle_definition()
end
if string.sub(note, 1, 8) == 'conflict' then
  return { text_of(now), note }
end

local params = {}
for number in string.gmatch(operation ~= 'reset' and info.definition or definition, ' (%S+)') do
  params[#params + 1] = tonumber(number)
end

local function parse(id)
  local owner, lease_ms, wait_ms, cost = string.match(id, '^([^/]*)/%d+/(%d+)/(%d+)/([^/]+)$')
  return owner, tonumber(lease_ms), tonumber(wait_ms), tonumber(cost)
end

-- keys that began to exist, and for how long what is kept means anything: see keep() in operations.lua
local new_keys, needed_ms = {}, IDLE_MS

local function need(ms)
  needed_ms = math.max(needed_ms, ms)
end
