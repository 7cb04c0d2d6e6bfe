-- Put before every script, behind the tables TRANSITIONS and FINAL, which are made of those in `job.py`. Keys are built
-- here and nowhere else; the server's clock is the only clock.
local P = 'cvpipe:'
local DUE = P .. 'due'

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- A job's name is `<tenant>/<id>`, so each of its keys and tasks has the tenant in it.
local function tenant_of(job) return string.match(job, '^([^/]+)/.') end
local function jobs_key(tenant) return P .. 'jobs:' .. tenant end
local function open_key(holder) return P .. 'open:' .. holder end -- jobs of an API key that are not over
local function job_key(job) return P .. 'job:' .. job end
local function tasks_key(job) return P .. 'job:' .. job .. ':tasks' end
local function events_key(job) return P .. 'job:' .. job .. ':events' end
local function done_key(job) return P .. 'job:' .. job .. ':done' end
local function state_key(job, segment) return P .. 'job:' .. job .. ':state:' .. segment end
local function chunk_key(job, segment, chunk) return P .. 'job:' .. job .. ':c:' .. segment .. ':' .. chunk end
local function log_key(job) return P .. 'job:' .. job .. ':log' end
local function frames_key(job) return P .. 'job:' .. job .. ':frames' end
local function gapped_key(job) return P .. 'job:' .. job .. ':gapped' end
local function gaps_key(job) return P .. 'job:' .. job .. ':gaps' end
local function leaving_key(job) return P .. 'job:' .. job .. ':leaving' end -- who still holds what a cancel has taken away
local function messages_key(job) return P .. 'job:' .. job .. ':messages' end
local function bodies_key(job) return P .. 'job:' .. job .. ':bodies' end
local function receiver_key(origin) return P .. 'receiver:' .. origin end
local function old(key) return key .. ':old' end -- what a repair goes on from
local function camera_key(camera) return P .. 'camera:' .. camera end -- `<tenant>/<name>` too
local function cameras_key(tenant) return P .. 'cameras:' .. tenant end
local function picks_key(job, segment, chunk) return P .. 'job:' .. job .. ':picks:' .. segment .. ':' .. chunk end
local function tracks_key(job) return P .. 'job:' .. job .. ':tracks' end
local function task_key(task) return P .. 'task:' .. task end
-- In `due` beside tasks: when the sweeper must look at a job by itself. No message is ever sent for it.
local function clock(job) return 'clock:' .. job end

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

-- What there is to know of a job's plan: {segments, chunks, number of the last frames segment, of the sequence or nil,
-- of the segment whose chunks make the job's records}.
local function plan_of(job)
  local raw = get(job_key(job), 'plan')
  if not raw then return nil end
  local segments = cjson.decode(raw)
  local plan = { segments = segments, chunks = tonumber(get(job_key(job), 'chunks_total')) }
  for n, segment in ipairs(segments) do
    if segment['kind'] == 'frames' then plan.frames = n - 1 end
    if segment['kind'] == 'sequence' then plan.sequence = n - 1 end
  end
  plan.records = plan.sequence or plan.frames
  return plan
end

-- What segments behind the records have left: what they found out is told by then, or is made anew.
local function drop_later(job, plan)
  for s = plan.records + 1, #plan.segments - 1 do
    redis.call('DEL', state_key(job, s))
    redis.call('HDEL', job_key(job), 'left:' .. s)
    for c = 0, plan.chunks - 1 do
      redis.call('DEL', picks_key(job, s, c), chunk_key(job, s, c))
      redis.call('HDEL', done_key(job), s .. ':' .. c)
    end
  end
end

-- Whether chunks of a segment run one after another, each with the state after the last.
local function in_order(segment) return segment['kind'] == 'sequence' or segment['in_order'] == true end

-- The records that a sequence was made from are kept as long as a repair may need them.
local function drop_inputs(job)
  local plan = plan_of(job)
  if not plan or not plan.sequence then return end
  for c = 0, plan.chunks - 1 do
    redis.call('DEL', chunk_key(job, plan.frames, c), old(chunk_key(job, plan.frames, c)))
  end
end

-- A repair is over: with its own results where all chunks are done, else with those that there were before.
local function end_repair(job)
  local key, plan = job_key(job), plan_of(job)
  if not get(key, 'before') then return nil end
  local before = cjson.decode(get(key, 'before'))
  local last = #plan.segments - 1
  local whole = tonumber(get(key, 'chunks_done')) == plan.chunks
    and (last == plan.records or get(key, 'left:' .. last) == '0')
  if whole then
    redis.call('DEL', old(gapped_key(job)), old(done_key(job)), old(frames_key(job)), old(log_key(job)),
      old(tracks_key(job)))
  else
    for c = 0, plan.chunks - 1 do
      local stream = chunk_key(job, plan.frames, c)
      if redis.call('EXISTS', old(stream)) == 1 then redis.call('RENAME', old(stream), stream) end
      for s = 0, plan.frames - 1 do redis.call('DEL', chunk_key(job, s, c)) end
    end
    redis.call('DEL', tracks_key(job))
    for _, name in ipairs({ done_key(job), frames_key(job), tracks_key(job) }) do
      if redis.call('EXISTS', old(name)) == 1 then redis.call('RENAME', old(name), name) end
    end
    if plan.sequence then
      redis.call('DEL', log_key(job))
      if redis.call('EXISTS', old(log_key(job))) == 1 then redis.call('RENAME', old(log_key(job)), log_key(job)) end
    end
    redis.call('SUNIONSTORE', gapped_key(job), gapped_key(job), old(gapped_key(job)))
    redis.call('DEL', old(gapped_key(job)))
    redis.call('HDEL', key, 'error')
    for _, field in ipairs({ 'error', 'frames_done', 'chunks_done', 'chunks_failed', 'started_at' }) do
      if before[field] then redis.call('HSET', key, field, before[field]) end
    end
  end
  redis.call('HDEL', key, 'before')
  return before['state']
end

-- What is told to a webhook's receiver: a message, and the task to deliver it. The task belongs to no job, so that what
-- ends or pauses the job's work leaves it alone; it goes with its message.
local MESSAGES_KEPT = 1000
local function notify_task(job, number) return 'notify:' .. job .. ':' .. number end

local function read_message(job, number)
  local raw = get(messages_key(job), number)
  return raw and cjson.decode(raw)
end

local function write_message(job, number, message)
  redis.call('HSET', messages_key(job), number, cjson.encode(message))
end

local function drop_message(job, number)
  drop(notify_task(job, number))
  redis.call('HDEL', messages_key(job), number)
  redis.call('HDEL', bodies_key(job), number)
end

-- Tell of an event, whether or not the receiver asked for it. data: JSON of what goes with it, or nil.
local function tell(job, event, data, grace)
  local key = job_key(job)
  local number = redis.call('HINCRBY', key, 'messages_total', 1)
  write_message(job, number, { event = event, at = now(), state = 'pending', attempts = 0, tries = 0, data = data })
  if number > MESSAGES_KEPT then drop_message(job, number - MESSAGES_KEPT) end
  put(notify_task(job, number), '', 'notify', get(key, 'priority'), grace)
  return { notify_task(job, number) }
end

-- Tell of an event if the receiver asked for it and has not gone for good.
local function announce(job, event, data, grace)
  local key = job_key(job)
  local wanted = ' ' .. (get(key, 'webhook') or '') .. ' '
  if not string.find(wanted, ' ' .. event .. ' ', 1, true) or get(key, 'webhook_gone') then return {} end
  return tell(job, event, data, grace)
end

-- An end that is none any more is not told of, unless it was already.
local function withdraw_ends(job)
  local all = redis.call('HGETALL', messages_key(job))
  for i = 1, #all, 2 do
    local message = cjson.decode(all[i + 1])
    if message.state == 'pending' and FINAL[string.match(message.event, '^job%.(.+)$')] then
      drop(notify_task(job, all[i]))
      message.state = 'withdrawn'
      write_message(job, all[i], message)
    end
  end
end

-- The one place where a job changes state: state, time, event and the message that tells of it, in one atomic step.
-- `ran_ms` counts the time in which it was `running`, up to `running_since`.
local function transition(job, state, grace)
  local key, at = job_key(job), now()
  local was = get(key, 'state')
  if was and not TRANSITIONS[was][state] then error('a job that is ' .. was .. ' can not become ' .. state) end
  if FINAL[was] then withdraw_ends(job) end
  redis.call('ZREM', DUE, clock(job))
  if was == 'running' then
    redis.call('HINCRBY', key, 'ran_ms', at - tonumber(get(key, 'running_since')))
    redis.call('HDEL', key, 'running_since')
  end
  redis.call('HSET', key, 'state', state)
  local holder = get(key, 'key')
  if holder then redis.call(FINAL[state] and 'SREM' or 'SADD', open_key(holder), job) end
  if state == 'running' then
    redis.call('HSET', key, 'running_since', at)
    redis.call('HSETNX', key, 'started_at', at)
  end
  if FINAL[state] then redis.call('HSET', key, 'finished_at', at) end
  redis.call('XADD', events_key(job), '*', 'type', 'job.' .. state, 'at', at)
  if FINAL[state] then
    for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do drop(task) end
    end_repair(job)
    redis.call('DEL', leaving_key(job))
    local plan = plan_of(job)
    if plan and state ~= 'failed' then drop_later(job, plan) end
    -- What failed may be tried again.
    if state == 'canceled' or (state ~= 'failed' and redis.call('SCARD', gapped_key(job)) == 0) then drop_inputs(job) end
  end
  return announce(job, 'job.' .. state, nil, grace)
end

local function rings(tasks)
  local out = {}
  for _, task in ipairs(tasks) do
    local queue = get(task_key(task), 'queue')
    if queue then table.insert(out, { task, queue, get(task_key(task), 'priority') }) end
  end
  return out
end

-- The end of a cancel: a repair that is canceled leaves the job as it was before.
local function end_cancel(job, grace)
  local before = get(job_key(job), 'before')
  return transition(job, before and cjson.decode(before)['state'] or 'canceled', grace)
end

-- A job is begun again after an end: what was said of that end goes, and nothing tells of it any more.
local function begin_again(job, request)
  local key = job_key(job)
  redis.call('HSET', key, 'asked', request, 'ran_ms', 0, 'frames_before', get(key, 'frames_done') or 0)
  redis.call('HDEL', key, 'error', 'finished_at', 'started_at')
  for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do drop(task) end
end

-- A job's own time has come: who was told to leave has had time enough.
local function tick(job, grace)
  if get(job_key(job), 'state') == 'canceling' then return end_cancel(job, grace) end
  return {}
end
