-- ARGV: job, grace ms. Returns {state before, rings}: of jobs that waited for this one. Tasks stay as they are, but nobody is
-- rung for them or may claim them; those that are held go back, which is held against nobody: what was written stays.
local job, key = ARGV[1], job_key(ARGV[1])
local state = get(key, 'state')
if state ~= 'queued' and state ~= 'running' then return { state or '', {} } end
for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do keep_back(task) end
redis.call('DEL', held_key(job))
return { state, rings(transition(job, 'paused', tonumber(ARGV[2]))) }
