-- ARGV: limit, ring again ms. What is due: rung for now, and looked at again later: each time twice as late (up to
-- 64 times the interval), or tasks that only wait in line would fill the broker's queues with rings.
local t = now()
local tasks = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, tonumber(ARGV[1]))
for _, task in ipairs(tasks) do
  if redis.call('EXISTS', task_key(task)) == 1 then
    local rings_before = redis.call('HINCRBY', task_key(task), 'rings', 1) - 1
    redis.call('ZADD', DUE, t + tonumber(ARGV[2]) * 2 ^ math.min(rings_before, 6), task)
  else
    redis.call('ZREM', DUE, task)
  end
end
return rings(tasks)
