--[[
  Writes a death to the blame of a job that is still the dead child's, once however often it is tried.

  KEYS[1] the job, KEYS[2] its lock
  ARGV[1] the token it is held with
  ARGV[2] swarmExact or swarmShared
  ARGV[3] the note for swarmDeaths, JSON
  ARGV[4] its field `death`
  ARGV[5] how many notes are kept

  Returns 1, or 0 if the job is not the dead child's any more.
]]
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('EXISTS', KEYS[1]) == 0 then
  return 0
end
local ok, notes = pcall(cjson.decode, redis.call('HGET', KEYS[1], 'swarmDeaths') or '[]')
if not ok or type(notes) ~= 'table' then
  notes = {}
end
for _, note in ipairs(notes) do
  if type(note) == 'table' and note.death == ARGV[4] then
    return 1
  end
end
notes[#notes + 1] = cjson.decode(ARGV[3])
while #notes > tonumber(ARGV[5]) do
  table.remove(notes, 1)
end
-- whatever stands there is anybody's to write
local count = tonumber(redis.call('HGET', KEYS[1], ARGV[2]) or 0) or 0
redis.call('HSET', KEYS[1], ARGV[2], string.format('%d', count + 1), 'swarmDeaths', cjson.encode(notes))
return 1
