-- ARGV: job, token, grace ms, plan (json), chunks (json), frames total, video, models (json), wall clock (json or ''),
-- seconds of video, addresses of its stages (json), names of stages whose results it takes over (json), queue of its trial
-- ('': all of it is done)
local job, grace = ARGV[1], tonumber(ARGV[3])
local task = 'ingest:' .. job
if not owns(task, ARGV[2]) then return false end
local chunks = cjson.decode(ARGV[5])
redis.call('HSET', job_key(job), 'plan', ARGV[4], 'chunks', ARGV[5], 'chunks_total', #chunks,
  'frames_total', ARGV[6], 'video', ARGV[7], 'models', ARGV[8], 'wall_clock', ARGV[9], 'addresses', ARGV[11],
  'reused', ARGV[12])
drop(task)
local holder = get(job_key(job), 'key')
if holder then -- a plan is committed once, so no second of a job counts twice
  local seconds = P .. 'seconds:' .. holder .. ':' .. math.floor(now() / 86400000)
  redis.call('INCRBYFLOAT', seconds, ARGV[10])
  redis.call('EXPIRE', seconds, 172800)
end
local plan, priority, tasks = cjson.decode(ARGV[4]), get(job_key(job), 'priority'), {}
if ARGV[13] ~= '' then
  redis.call('HSET', job_key(job), 'trial', ARGV[13])
  put('trial:' .. job, job, ARGV[13], priority, grace)
  return rings({ 'trial:' .. job })
end
for chunk = 0, in_order(plan[1]) and 0 or #chunks - 1 do
  local name = 'chunk:' .. job .. ':0:' .. chunk
  put(name, job, plan[1]['queue'], priority, grace)
  table.insert(tasks, name)
end
return rings(tasks)
