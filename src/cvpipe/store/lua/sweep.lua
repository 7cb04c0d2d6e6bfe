-- ARGV: limit, ring again ms. What is due: rung for now, and looked at again a little later.
local t = now()
local tasks = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, tonumber(ARGV[1]))
for _, task in ipairs(tasks) do
  if redis.call('EXISTS', task_key(task)) == 1 then
    redis.call('ZADD', DUE, t + tonumber(ARGV[2]), task)
  else
    redis.call('ZREM', DUE, task)
  end
end
return rings(tasks)
