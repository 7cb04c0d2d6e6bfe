-- ARGV: job, grace ms. Returns {state before, rings}. All tasks of a paused job are to be looked at again.
local job, key, grace = ARGV[1], job_key(ARGV[1]), tonumber(ARGV[2])
local state = get(key, 'state')
if state ~= 'paused' then return { state or '', {} } end
local tasks, t = redis.call('SMEMBERS', tasks_key(job)), now()
for _, task in ipairs(tasks) do
  redis.call('HSET', task_key(task), 'rings', 0)
  redis.call('ZADD', DUE, math.max(t + grace, tonumber(get(task_key(task), 'not_before'))), task)
end
transition(job, 'queued', grace)
return { state, rings(tasks) }
