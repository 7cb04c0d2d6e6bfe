-- ARGV: limit, ring again ms, grace ms. What is due: rung for now, and looked at again later: each time twice as late (up
-- to 64 times the interval), or tasks that only wait in line would fill the broker's queues with rings.
local t = now()
local due = redis.call('ZRANGEBYSCORE', DUE, '-inf', t, 'LIMIT', 0, tonumber(ARGV[1]))
local tasks = {}
for _, task in ipairs(due) do
  local job = string.match(task, '^clock:(.+)$')
  if job then
    redis.call('ZREM', DUE, task)
    for _, follows in ipairs(tick(job, tonumber(ARGV[3]))) do table.insert(tasks, follows) end
  elseif redis.call('EXISTS', task_key(task)) == 1 then
    local rings_before = redis.call('HINCRBY', task_key(task), 'rings', 1) - 1
    redis.call('ZADD', DUE, t + tonumber(ARGV[2]) * 2 ^ math.min(rings_before, 6), task)
    enter(task)
    table.insert(tasks, task)
  else
    redis.call('ZREM', DUE, task)
  end
end
for _, tenant in ipairs(redis.call('SMEMBERS', P .. 'parked')) do -- more may be at work than when they were parked
  for _, task in ipairs(fill_slots(tenant, tonumber(ARGV[3]))) do table.insert(tasks, task) end
end
return rings(tasks)
