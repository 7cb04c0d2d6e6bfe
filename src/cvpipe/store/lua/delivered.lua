-- ARGV: job, number of the message, token, attempt (json), what follows (delivered, again, given_up or gone), wait ms,
-- attempts kept. Logs an attempt; where the task is still ours, also what follows from it. Returns 1, or 0 where it isn't.
local job, number, token, follows, wait = ARGV[1], ARGV[2], ARGV[3], ARGV[5], tonumber(ARGV[6])
local key, task = job_key(job), notify_task(job, number)
if redis.call('EXISTS', key) == 0 then
  if owns(task, token) then drop(task) end
  return 0
end
redis.call('RPUSH', key .. ':deliveries', ARGV[4])
redis.call('LTRIM', key .. ':deliveries', -tonumber(ARGV[7]), -1)
local message = read_message(job, number)
if not message then return 0 end
message.attempts, message.tries = message.attempts + 1, message.tries + 1
local ours = owns(task, token)
if ours and follows == 'again' then
  message.next_at = now() + wait
  redis.call('HSET', task_key(task), 'token', '', 'lease_until', 0, 'not_before', message.next_at, 'rings', 0)
  redis.call('ZADD', DUE, message.next_at, task)
elseif ours then
  message.state, message.next_at = follows == 'gone' and 'given_up' or follows, nil
  drop(task)
end
write_message(job, number, message)
if ours and follows == 'gone' then
  redis.call('HSET', key, 'webhook_gone', 1)
  for _, other in ipairs(redis.call('HKEYS', messages_key(job))) do
    local waiting = read_message(job, other)
    if waiting.state == 'pending' then
      waiting.state, waiting.next_at = 'given_up', nil
      write_message(job, other, waiting)
      drop(notify_task(job, other))
    end
  end
end
return ours and 1 or 0
