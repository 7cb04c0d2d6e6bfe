-- ARGV: task, token, lease ms, job, chunk, frame, what is told of it (json), how many frames there are up to it.
-- A job has seen enough: its plan ends with this frame, as if there were no more of the video. Work on chunks behind it is
-- taken from whoever holds it, and what it has left goes. The task itself goes on, and is the last chunk's, unless an
-- earlier chunk says the same. Returns 1, or -1 where the task is no longer ours.
local task, job, chunk, frame, frames = ARGV[1], ARGV[4], tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[8])
if not owns(task, ARGV[2]) then return -1 end
extend(task, tonumber(ARGV[3]))
local key, done, plan = job_key(job), done_key(job), plan_of(job)
local chunks = cjson.decode(get(key, 'chunks'))
if #chunks == chunk + 1 and chunks[#chunks][2] <= frame + 1 then return 1 end -- said before
local before = tonumber(get(key, 'frames_done')) / tonumber(get(key, 'frames_total'))
for c = chunk + 1, #chunks - 1 do
  table.remove(chunks)
  redis.call('SREM', gapped_key(job), c)
  for s = 0, plan.records do
    drop('chunk:' .. job .. ':' .. s .. ':' .. c)
    redis.call('HDEL', done, s .. ':' .. c)
    redis.call('DEL', chunk_key(job, s, c), old(chunk_key(job, s, c)))
  end
end
chunks[#chunks][2] = frame + 1
local counted, whole, failed = 0, 0, 0
for c = 0, chunk do
  counted = counted + redis.call('XLEN', chunk_key(job, plan.frames, c))
  if redis.call('HEXISTS', done, plan.records .. ':' .. c) == 1 then whole = whole + 1 end
  local is_failed = false
  for s = 0, plan.records do is_failed = is_failed or redis.call('HGET', done, s .. ':' .. c) == 'failed' end
  if is_failed then failed = failed + 1 end
end
redis.call('HSET', key, 'chunks', cjson.encode(chunks), 'chunks_total', #chunks, 'chunks_done', whole,
  'chunks_failed', failed, 'frames_total', frames, 'frames_done', math.min(counted, frames), 'stopped', ARGV[7],
  'least_permille', math.floor(1000 * math.min(1, before)))
return 1
