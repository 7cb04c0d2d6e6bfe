-- ARGV: job. Returns the state before. Tasks stay as they are, but nobody is rung for them or may claim them; those that
-- are held go back, which is held against nobody: what was written of them stays.
local job, key = ARGV[1], job_key(ARGV[1])
local state = get(key, 'state')
if not state then return '' end
if state ~= 'queued' and state ~= 'running' then return state end
for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do
  redis.call('HSET', task_key(task), 'token', '', 'lease_until', 0)
  redis.call('ZREM', DUE, task)
end
transition(job, 'paused', 0)
return state
