--[[
  A bucket of `size` that leaks evenly, and from full to empty in `drain_ms`. The level is what was in it at
  levelAtMs.
]]
local size, drain_ms = params[1], params[2]
local IS_TIMED, WAIT_IS_CERTAIN = true, true
-- what sums of fractions are off by
local ROUNDING = 1e-6

local function used()
  local leaked = (now - number_in('levelAtMs')) * size / drain_ms
  return math.max(0, number_in('level') - leaked)
end

local function fill(level)
  set('level', string.format('%.9f', math.max(0, level)))
  set('levelAtMs', text_of(now))
  need(level * drain_ms / size)
end

local function forget_old() end

local function room()
  local excess = used() + 1 - size
  if excess <= ROUNDING then
    return 0
  end
  return excess * drain_ms / size
end

local function take()
  fill(used() + 1)
end

local function give_back()
  fill(used() - 1)
  return true
end
