-- ARGV: job, grace ms. Returns {state before, rings}. All tasks of a paused job are to be looked at again.
local job, key, grace = ARGV[1], job_key(ARGV[1]), tonumber(ARGV[2])
local state = get(key, 'state')
if state ~= 'paused' then return { state or '', {} } end
transition(job, 'queued', grace)
local tasks = redis.call('SMEMBERS', tasks_key(job))
for _, task in ipairs(tasks) do
  redis.call('HSET', task_key(task), 'rings', 0)
  if not is_kept_back(job) then offer(task, grace) end
end
return { state, rings(tasks) }
