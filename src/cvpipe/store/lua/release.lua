-- ARGV: task, token, delay ms, failed (0/1), progressed (0/1). Hands a task back: to be run again after the delay.
-- progressed: what it went through up to here is not held against it any more.
local task, token, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not owns(task, token) then return {} end
local at = now() + delay
redis.call('HSET', task_key(task), 'token', '', 'lease_until', 0, 'not_before', at, 'rings', 0)
local job = get(task_key(task), 'job')
if job ~= '' then redis.call('SREM', held_key(job), task) end
if ARGV[4] == '1' then redis.call('HINCRBY', task_key(task), 'failures', 1) end
if ARGV[5] == '1' then redis.call('HSET', task_key(task), 'crashes', 0, 'failures', 0) end
offer(task, 0)
return rings({ task })
