-- Put before every script. Keys are built here and nowhere else; the server's clock is the only clock.
local P = 'cvpipe:'
local DUE = P .. 'due'
local FINAL = { succeeded = true, succeeded_with_gaps = true, failed = true, canceled = true }

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

local function job_key(job) return P .. 'job:' .. job end
local function tasks_key(job) return P .. 'job:' .. job .. ':tasks' end
local function events_key(job) return P .. 'job:' .. job .. ':events' end
local function done_key(job) return P .. 'job:' .. job .. ':done' end
local function state_key(job, segment) return P .. 'job:' .. job .. ':state:' .. segment end
local function chunk_key(job, segment, chunk) return P .. 'job:' .. job .. ':c:' .. segment .. ':' .. chunk end
local function frames_key(job) return P .. 'job:' .. job .. ':frames' end
local function task_key(task) return P .. 'task:' .. task end

local function get(key, field)
  local value = redis.call('HGET', key, field)
  if value == false then return nil end
  return value
end

-- Make a task known, due after `delay` ms (the caller rings at once; the sweeper rings when nobody came by then).
local function put(task, job, queue, priority, delay)
  if redis.call('EXISTS', task_key(task)) == 1 then return end
  redis.call('HSET', task_key(task), 'queue', queue, 'priority', priority, 'job', job, 'token', '',
    'lease_until', 0, 'not_before', 0, 'crashes', 0, 'failures', 0, 'attempts', 0, 'rings', 0)
  redis.call('ZADD', DUE, now() + delay, task)
  if job ~= '' then redis.call('SADD', tasks_key(job), task) end
end

local function drop(task)
  local job = get(task_key(task), 'job')
  redis.call('ZREM', DUE, task)
  redis.call('DEL', task_key(task))
  if job and job ~= '' then redis.call('SREM', tasks_key(job), task) end
end

local function owns(task, token)
  return token ~= '' and get(task_key(task), 'token') == token
end

local function extend(task, lease)
  local until_ms = now() + lease
  redis.call('HSET', task_key(task), 'lease_until', until_ms)
  redis.call('ZADD', DUE, until_ms, task)
end

-- The one place where a job changes state: state, time, event and the webhook's task, in one atomic step.
local function transition(job, state, grace)
  local key, at = job_key(job), now()
  redis.call('HSET', key, 'state', state)
  if state == 'running' then redis.call('HSET', key, 'started_at', at) end
  if FINAL[state] then redis.call('HSET', key, 'finished_at', at) end
  local event = redis.call('XADD', events_key(job), '*', 'type', 'job.' .. state, 'at', at)
  if FINAL[state] then
    for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do drop(task) end
    if get(key, 'webhook') == '1' then
      redis.call('HSET', key, 'webhook_event', event)
      put('notify:' .. job, job, 'notify', get(key, 'priority'), grace)
      return { 'notify:' .. job }
    end
  end
  return {}
end

local function rings(tasks)
  local out = {}
  for _, task in ipairs(tasks) do
    local queue = get(task_key(task), 'queue')
    if queue then table.insert(out, { task, queue, get(task_key(task), 'priority') }) end
  end
  return out
end
