-- Put before every script, behind `keys` and `lines`.

-- Whether nobody may work on a job for now: it is paused, or its tenant has as many jobs at work as are allowed.
local function is_kept_back(job)
  return job ~= '' and (get(job_key(job), 'state') == 'paused' or get(job_key(job), 'parked') == '1')
end

-- An open task may be claimed from now on; the sweeper rings for it after `delay` ms, where the caller's ring is lost.
local function offer(task, delay)
  local t, not_before = now(), tonumber(get(task_key(task), 'not_before'))
  redis.call('ZADD', DUE, math.max(t + delay, not_before), task)
  if not_before <= t then enter(task) end
end

-- Nobody may claim a task for now, whoever holds it has lost it, and nobody is rung for it.
local function keep_back(task)
  exit(task)
  redis.call('HSET', task_key(task), 'token', '', 'lease_until', 0)
  redis.call('ZREM', DUE, task)
end

-- Make a task known, due after `delay` ms (the caller rings at once; the sweeper rings when nobody came by then).
local function put(task, job, queue, priority, delay)
  if redis.call('EXISTS', task_key(task)) == 1 then return end
  redis.call('HSET', task_key(task), 'queue', queue, 'priority', priority, 'job', job, 'token', '',
    'lease_until', 0, 'not_before', 0, 'crashes', 0, 'failures', 0, 'attempts', 0, 'rings', 0)
  if job ~= '' then redis.call('SADD', tasks_key(job), task) end
  if not is_kept_back(job) then offer(task, delay) end
end

local function drop(task)
  local job = get(task_key(task), 'job')
  exit(task)
  redis.call('ZREM', DUE, task)
  redis.call('DEL', task_key(task))
  if job and job ~= '' then
    redis.call('SREM', tasks_key(job), task)
    redis.call('SREM', held_key(job), task)
  end
end

local function owns(task, token)
  return token ~= '' and get(task_key(task), 'token') == token
end

local function extend(task, lease)
  local until_ms = now() + lease
  redis.call('HSET', task_key(task), 'lease_until', until_ms)
  redis.call('ZADD', DUE, until_ms, task)
end

-- Hold a task for a worker. Returns {verdict, crashes, failures, attempts}; begins its job where it waits for that.
local function claim(task, token, lease, begin)
  local key = task_key(task)
  if redis.call('EXISTS', key) == 0 then return { 'gone', 0, 0, 0 } end
  local t, job = now(), get(key, 'job')
  if is_kept_back(job) then return { 'paused', 0, 0, 0 } end
  local held = get(key, 'token')
  if held ~= token then -- else asked again, because the answer got lost
    if held ~= '' then
      if tonumber(get(key, 'lease_until')) > t then return { 'busy', 0, 0, 0 } end
      redis.call('HINCRBY', key, 'crashes', 1)
    elseif tonumber(get(key, 'not_before')) > t then
      return { 'early', 0, 0, 0 }
    end
    redis.call('HSET', key, 'token', token, 'rings', 0) -- first: a store that is full refuses it, and all the rest
    exit(task)
    redis.call('HINCRBY', key, 'attempts', 1)
    extend(task, lease)
    if job ~= '' then
      redis.call('SADD', held_key(job), task)
      if get(job_key(job), 'state') == 'queued' then begin(job) end
    end
  end
  return { 'ok', tonumber(get(key, 'crashes')), tonumber(get(key, 'failures')), tonumber(get(key, 'attempts')) }
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

-- Slots: `active:TENANT` holds the jobs that are at work, `parked:TENANT` those that wait until one of these is over, the
-- most urgent first, where `max_running` says how many may be at work at once. `parked` holds the tenants of the latter.
local function active_key(tenant) return P .. 'active:' .. tenant end
local function parked_key(tenant) return P .. 'parked:' .. tenant end

local function free_slots(tenant)
  local most = tonumber(redis.call('GET', P .. 'max_running') or nil)
  return most and most - redis.call('SCARD', active_key(tenant)) or math.huge
end

local function leave_park(job, tenant)
  redis.call('HDEL', job_key(job), 'parked')
  redis.call('ZREM', parked_key(tenant), job)
  if redis.call('EXISTS', parked_key(tenant)) == 0 then redis.call('SREM', P .. 'parked', tenant) end
end

-- A job is to be worked on: now, or when its turn comes.
local function take_slot(job)
  local tenant = tenant_of(job)
  if free_slots(tenant) > 0 then
    redis.call('SADD', active_key(tenant), job)
  else
    local rank = (9 - tonumber(get(job_key(job), 'priority'))) * 2 ^ 42 + tonumber(get(job_key(job), 'created_at'))
    redis.call('HSET', job_key(job), 'parked', 1)
    redis.call('ZADD', parked_key(tenant), rank, job)
    redis.call('SADD', P .. 'parked', tenant)
  end
end

-- Jobs that waited take the slots that are free; returns their tasks.
local function fill_slots(tenant, grace)
  local tasks = {}
  while free_slots(tenant) > 0 do
    local job = redis.call('ZRANGE', parked_key(tenant), 0, 0)[1]
    if not job then break end
    leave_park(job, tenant)
    redis.call('SADD', active_key(tenant), job)
    for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do
      offer(task, grace)
      table.insert(tasks, task)
    end
  end
  return tasks
end

local function give_slot(job, grace)
  local tenant = tenant_of(job)
  leave_park(job, tenant)
  redis.call('SREM', active_key(tenant), job)
  return fill_slots(tenant, grace)
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
-- `ran_ms` counts the time in which it was `running`, up to `running_since`; a clock tells when that is too long.
-- Returns tasks to ring for: of messages, and of jobs that waited for this one.
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
    local limit = tonumber(get(key, 'timeout_ms') or nil)
    if limit then redis.call('ZADD', DUE, at + limit - tonumber(get(key, 'ran_ms') or 0), clock(job)) end
  end
  local follow = {}
  if state == 'queued' then take_slot(job) end
  if state == 'paused' or FINAL[state] then follow = give_slot(job, grace) end
  redis.call('ZREM', P .. 'ended', job)
  if FINAL[state] then
    redis.call('HSET', key, 'finished_at', at)
    redis.call('ZADD', P .. 'ended', at, job)
  end
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
  for _, task in ipairs(announce(job, 'job.' .. state, nil, grace)) do table.insert(follow, task) end
  return follow
end

local function rings(tasks)
  local out = {}
  for _, task in ipairs(tasks) do
    local queue = get(task_key(task), 'queue')
    if queue and redis.call('ZSCORE', DUE, task) then table.insert(out, { task, queue, get(task_key(task), 'priority') }) end
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
  redis.call('HDEL', key, 'error', 'finished_at', 'started_at', 'least_permille')
  for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do drop(task) end
end

-- A job's own time has come: who was told to leave has had time enough, or the job has run too long.
local function tick(job, grace)
  local key = job_key(job)
  local state = get(key, 'state')
  if state == 'canceling' then return end_cancel(job, grace) end
  if state ~= 'running' then return {} end
  redis.call('HDEL', key, 'waiting')
  local follow = transition(job, 'failed', grace)
  local seconds = tonumber(get(key, 'timeout_ms')) / 1000
  redis.call('HSET', key, 'error', cjson.encode({ code = 'timed_out',
    message = 'the job ran for longer than its timeout_seconds, ' .. seconds .. '; a retry goes on from what is done' }))
  return follow
end
