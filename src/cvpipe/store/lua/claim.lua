-- ARGV: task, token, lease ms. Returns {verdict, crashes, failures, attempts}.
local task, token, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = task_key(task)
if redis.call('EXISTS', key) == 0 then return { 'gone', 0, 0, 0 } end
local t, job = now(), get(key, 'job')
local state = job ~= '' and get(job_key(job), 'state')
if state == 'paused' then return { 'paused', 0, 0, 0 } end
local held = get(key, 'token')
if held == token then -- asked again, because the answer got lost
  return { 'ok', tonumber(get(key, 'crashes')), tonumber(get(key, 'failures')), tonumber(get(key, 'attempts')) }
end
if held ~= '' then
  if tonumber(get(key, 'lease_until')) > t then return { 'busy', 0, 0, 0 } end
  redis.call('HINCRBY', key, 'crashes', 1)
elseif tonumber(get(key, 'not_before')) > t then
  return { 'early', 0, 0, 0 }
end
redis.call('HSET', key, 'token', token, 'rings', 0)
extend(task, lease)
local attempts = redis.call('HINCRBY', key, 'attempts', 1)
if state == 'queued' then transition(job, 'running', 0) end
return { 'ok', tonumber(get(key, 'crashes')), tonumber(get(key, 'failures')), attempts }
