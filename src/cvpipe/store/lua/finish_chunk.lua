-- ARGV: job, segment, chunk, token, status (ok/failed), state (of segments in order and picks), error (json), grace ms
-- Marks the chunk done and makes known what it was the last condition of. Completion is counted here and nowhere else.
local job, segment, chunk = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local task = 'chunk:' .. job .. ':' .. segment .. ':' .. chunk
local grace = tonumber(ARGV[8])
if not owns(task, ARGV[4]) then return false end
local WHOLE = { picks = true, tracks = true, external = true }
local key, done = job_key(job), done_key(job)
local made = plan_of(job)
local plan, total = made.segments, made.chunks
local priority = get(key, 'priority')
local tasks = {}
local function is_done(s, c) return redis.call('HEXISTS', done, s .. ':' .. c) == 1 end
local function start(s, c)
  local name = 'chunk:' .. job .. ':' .. s .. ':' .. c
  put(name, job, plan[s + 1]['queue'], priority, grace)
  table.insert(tasks, name)
end
-- What begins once all of the segment before is done: one task, or one for each chunk that has something to do.
local function begin(s)
  if not plan[s + 1] then
    put('finish:' .. job, job, 'finish', priority, grace)
    table.insert(tasks, 'finish:' .. job)
    return
  end
  local count = 0
  if WHOLE[plan[s + 1]['kind']] then
    start(s, 0)
    count = 1
  else
    for c = 0, total - 1 do
      if redis.call('EXISTS', picks_key(job, s, c)) == 1 then
        start(s, c)
        count = count + 1
      end
    end
  end
  redis.call('HSET', key, 'left:' .. s, count)
  if count == 0 then begin(s + 1) end
end
redis.call('HSET', done, segment .. ':' .. chunk, ARGV[5])
drop(task)
if ARGV[6] ~= '' then -- given up: the next chunk goes on from the last state
  redis.call('SET', state_key(job, segment), ARGV[6])
end
if segment > 0 and segment <= made.frames then redis.call('DEL', chunk_key(job, segment - 1, chunk)) end
if segment == made.frames then redis.call('DEL', old(chunk_key(job, segment, chunk))) end
if ARGV[5] == 'failed' then
  redis.call('SADD', gapped_key(job), chunk)
  local known = false -- a chunk that fails in two segments is one failed chunk
  for s = 0, segment - 1 do known = known or redis.call('HGET', done, s .. ':' .. chunk) == 'failed' end
  if not known and segment <= made.records then redis.call('HINCRBY', key, 'chunks_failed', 1) end
  redis.call('HSET', key, 'error', ARGV[7])
end
if segment > made.records then
  if redis.call('HINCRBY', key, 'left:' .. segment, -1) == 0 then begin(segment + 1) end
  return rings(tasks)
end
local following = segment < made.records and plan[segment + 2]
if following and (not in_order(following) or chunk == 0 or is_done(segment + 1, chunk - 1)) then
  start(segment + 1, chunk)
end
if in_order(plan[segment + 1]) and chunk + 1 < total and (segment == 0 or is_done(segment - 1, chunk + 1)) then
  start(segment, chunk + 1)
end
if not following then
  if redis.call('HINCRBY', key, 'chunks_done', 1) == total then begin(segment + 1) end
end
return rings(tasks)
