-- ARGV: task, token, delay ms, failed (0/1). Hands a task back: to be run again after the delay.
local task, token, delay = ARGV[1], ARGV[2], tonumber(ARGV[3])
if not owns(task, token) then return {} end
local at = now() + delay
redis.call('HSET', task_key(task), 'token', '', 'lease_until', 0, 'not_before', at, 'rings', 0)
if ARGV[4] == '1' then redis.call('HINCRBY', task_key(task), 'failures', 1) end
redis.call('ZADD', DUE, at, task)
return rings({ task })
