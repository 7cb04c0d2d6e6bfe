-- ARGV: job, id of the request, grace ms. Returns {verdict, state before, rings}. Goes on where a job has failed: with its
-- plan, the rest of its chunks, or its end. Where all chunks were done and some given up, those are what failed.
local job, request, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key, done = job_key(job), done_key(job)
local state = get(key, 'state')
if not state then return { 'none', '', {} } end
if get(key, 'asked') == request then -- asked again, because the answer got lost
  return { 'ok', state, rings(redis.call('SMEMBERS', tasks_key(job))) }
end
if state ~= 'failed' then return { 'state', state, {} } end
redis.call('HINCRBY', key, 'retries', 1)
local plan = plan_of(job)
local all_done = plan and tonumber(get(key, 'chunks_done')) == plan.chunks
if all_done and redis.call('SCARD', gapped_key(job)) > 0 then return { 'ok', state, redo(job, request, grace) } end
begin_again(job, request)
transition(job, 'queued', grace)
local tasks, priority = {}, get(key, 'priority')
local function make(task, queue)
  put(task, job, queue, priority, grace)
  table.insert(tasks, task)
end
local function is_done(s, c) return redis.call('HEXISTS', done, s .. ':' .. c) == 1 end
if not plan then
  make('ingest:' .. job, 'ingest')
elseif get(key, 'trial') then
  make('trial:' .. job, get(key, 'trial'))
elseif all_done and plan.records < #plan.segments - 1 and get(key, 'left:' .. (#plan.segments - 1)) ~= '0' then
  drop_later(job, plan) -- it failed among the crops: they are made anew
  redis.call('DEL', tracks_key(job))
  redis.call('HSET', key, 'left:' .. (plan.records + 1), 1)
  make('chunk:' .. job .. ':' .. (plan.records + 1) .. ':0', plan.segments[plan.records + 2]['queue'])
elseif all_done then
  make('finish:' .. job, 'finish')
else
  for c = 0, plan.chunks - 1 do
    for s = 0, plan.records do
      if not is_done(s, c) then
        if not in_order(plan.segments[s + 1]) or c == 0 or is_done(s, c - 1) then
          make('chunk:' .. job .. ':' .. s .. ':' .. c, plan.segments[s + 1]['queue'])
        end
        break
      end
    end
  end
end
return { 'ok', state, rings(tasks) }
