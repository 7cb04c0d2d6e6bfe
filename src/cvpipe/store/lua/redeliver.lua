-- ARGV: job, number of a message ('': a new one, for a test), grace ms. Returns {number, rings}; number '' where there is none.
-- The receiver may have come back: what was given up for good is not any more.
local job, number, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = job_key(job)
if redis.call('EXISTS', key) == 0 then return { '', {} } end
if number == '' then
  local tasks = tell(job, 'webhook.test', nil, grace)
  return { get(key, 'messages_total'), rings(tasks) }
end
local message, task = read_message(job, number), notify_task(job, number)
if not message then return { '', {} } end
redis.call('HDEL', key, 'webhook_gone')
message.state, message.tries, message.next_at = 'pending', 0, nil
write_message(job, number, message)
if (get(task_key(task), 'token') or '') == '' then -- else somebody is at it this very moment
  drop(task)
  put(task, '', 'notify', get(key, 'priority'), grace)
end
return { number, rings({ task }) }
