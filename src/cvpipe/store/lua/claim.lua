-- ARGV: task, token, lease ms. Returns {verdict, crashes, failures, attempts}.
local task, token, lease = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = task_key(task)
if redis.call('EXISTS', key) == 0 then return { 'gone', 0, 0, 0 } end
local t, job = now(), get(key, 'job')
if get(key, 'token') ~= '' then
  if tonumber(get(key, 'lease_until')) > t then return { 'busy', 0, 0, 0 } end
  redis.call('HINCRBY', key, 'crashes', 1)
elseif tonumber(get(key, 'not_before')) > t then
  return { 'early', 0, 0, 0 }
end
redis.call('HSET', key, 'token', token)
extend(task, lease)
local attempts = redis.call('HINCRBY', key, 'attempts', 1)
if job ~= '' and get(job_key(job), 'state') == 'queued' then transition(job, 'running', 0) end
return { 'ok', tonumber(get(key, 'crashes')), tonumber(get(key, 'failures')), attempts }
