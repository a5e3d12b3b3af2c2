--[[
  At most `limit` in each period of the calendar (UTC). The level is what was used in the period of levelAtMs.
]]
local limit, period_ms = params[1], params[2]
local IS_TIMED, WAIT_IS_CERTAIN = true, true

local function period_of(ms)
  return math.floor(ms / period_ms)
end

local function used()
  if period_of(number_in('levelAtMs')) ~= period_of(now) then
    return 0
  end
  return number_in('level')
end

local function forget_old() end

local function room()
  if used() < limit then
    return 0
  end
  return (period_of(now) + 1) * period_ms - now
end

local function take()
  set('level', used() + 1)
  set('levelAtMs', text_of(now))
  need(period_ms)
end

--- What belongs to a period that is over is worth nothing.
local function give_back(_, _, taken_at)
  if period_of(taken_at) == period_of(now) then
    set('level', math.max(0, used() - 1))
  end
  return true
end
