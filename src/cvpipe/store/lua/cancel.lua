-- ARGV: job, grace ms, patience ms. Returns {state before, rings}. Takes every token away: who still works on the job can
-- write no more. The job is `canceling` until all of them have said that they have left, or the patience is over.
local job, grace, patience = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local key, t = job_key(job), now()
local state = get(key, 'state')
if not state or FINAL[state] or state == 'canceling' then return { state or '', {} } end
for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do
  local token = get(task_key(task), 'token')
  if token ~= '' and tonumber(get(task_key(task), 'lease_until')) > t then
    redis.call('SADD', leaving_key(job), task .. ' ' .. token)
  end
  drop(task)
end
if redis.call('SCARD', leaving_key(job)) == 0 then return { state, rings(end_cancel(job, grace)) } end
transition(job, 'canceling', grace)
redis.call('ZADD', DUE, t + patience, clock(job))
return { state, {} }
