--[[
  A purse of `capacity` points that fills up by `per_second`. Each use costs an estimate before and the
  difference to what it took in truth after; so the purse may be in debt. The level is what was in it at levelAtMs.
]]
local capacity, per_second = params[1], params[2]
-- points that were not used come back at any time
local IS_TIMED, WAIT_IS_CERTAIN = true, false
local ROUNDING = 1e-6

local function available()
  if not info.level or info.level == '' then
    return capacity
  end
  local refilled = (now - number_in('levelAtMs')) * per_second / 1000
  return math.min(capacity, number_in('level') + refilled)
end

local function fill(level)
  set('level', string.format('%.9f', math.min(capacity, level)))
  set('levelAtMs', text_of(now))
  need((capacity - level) * 1000 / per_second)
end

local function forget_old() end

--- A use that costs more than there can ever be is let in when the purse is full.
local function room(cost)
  local missing = math.min(cost, capacity) - available()
  if missing <= ROUNDING then
    return 0
  end
  return missing * 1000 / per_second
end

local function take(_, cost)
  fill(available() - cost)
end

local function give_back(_, cost)
  fill(available() + cost)
  return true
end

local function used()
  return capacity - available()
end
