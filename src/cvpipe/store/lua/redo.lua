-- Put before `repair` and `retry`.
-- Runs the frames that have no results again. Each chunk that holds such frames, or was never finished, puts its records
-- aside and gets its first task anew: the task takes the good ones back, and computes the rest. A sequence runs anew over
-- all records, and where a segment of frames is in order all chunks do: each follows from the ones before. What was put aside is dropped chunk by chunk, and all that is left of it at the end; `end_repair` puts it
-- back where not all chunks were done. Returns rings; the job has a plan, and is `succeeded_with_gaps` or `failed`.
local function redo(job, request, grace)
  local key, done, plan = job_key(job), done_key(job), plan_of(job)
  local again = {}
  for _, c in ipairs(redis.call('SMEMBERS', gapped_key(job))) do again[tonumber(c)] = true end
  for c = 0, plan.chunks - 1 do
    if redis.call('HEXISTS', done, plan.frames .. ':' .. c) == 0 then again[c] = true end
  end

  for s = 0, plan.frames do
    if in_order(plan.segments[s + 1]) then
      redis.call('DEL', state_key(job, s))
      for c = 0, plan.chunks - 1 do again[c] = true end
    end
  end

  local before = { state = get(key, 'state') }
  for _, field in ipairs({ 'error', 'frames_done', 'chunks_done', 'chunks_failed', 'started_at', 'finished_at' }) do
    before[field] = get(key, field)
  end
  redis.call('HSET', key, 'before', cjson.encode(before))
  begin_again(job, request)
  redis.call('RENAME', gapped_key(job), old(gapped_key(job)))
  local marks = redis.call('HGETALL', done)
  if #marks > 0 then
    redis.call('DEL', old(done))
    for i = 1, #marks, 2 do redis.call('HSET', old(done), marks[i], marks[i + 1]) end
  end

  local tasks, priority, counted = {}, get(key, 'priority'), 0
  transition(job, 'queued', grace)
  local function start(s, c)
    local name = 'chunk:' .. job .. ':' .. s .. ':' .. c
    put(name, job, plan.segments[s + 1]['queue'], priority, grace)
    table.insert(tasks, name)
  end
  local left = 0
  for c = 0, plan.chunks - 1 do
    if again[c] then
      local stream = chunk_key(job, plan.frames, c)
      counted = counted + redis.call('XLEN', stream)
      if redis.call('EXISTS', stream) == 1 then redis.call('RENAME', stream, old(stream)) end
      for s = 0, plan.frames do
        redis.call('HDEL', done, s .. ':' .. c)
        redis.call('DEL', chunk_key(job, s, c))
      end
      if c == 0 or not in_order(plan.segments[1]) then start(0, c) end
    else
      left = left + 1
    end
  end
  if plan.sequence then
    left = 0
    for c = 0, plan.chunks - 1 do redis.call('HDEL', done, plan.sequence .. ':' .. c) end
    redis.call('DEL', state_key(job, plan.sequence))
    if redis.call('EXISTS', frames_key(job)) == 1 then redis.call('RENAME', frames_key(job), old(frames_key(job))) end
    if redis.call('EXISTS', log_key(job)) == 1 then redis.call('RENAME', log_key(job), old(log_key(job))) end
    if not again[0] then start(plan.sequence, 0) end
  end
  drop_later(job, plan) -- crops are chosen from all records: they are made anew
  if redis.call('EXISTS', tracks_key(job)) == 1 then redis.call('RENAME', tracks_key(job), old(tracks_key(job))) end
  redis.call('HINCRBY', key, 'frames_done', 0 - counted) -- `-0` is no integer to Redis
  redis.call('HSET', key, 'chunks_done', left, 'chunks_failed', 0, 'progress_at', 0)
  redis.call('HSET', key, 'frames_before', get(key, 'frames_done'))
  return rings(tasks)
end
