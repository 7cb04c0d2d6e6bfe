-- ARGV: task, token, lease ms, job, stream, counted (0/1), with gaps (0/1), then id, record, id, record, ...
-- with gaps: one of the records has no results; the chunk is then one that a repair looks at again.
-- An id that is not above the stream's last one is skipped: a duplicate writes nothing twice.
local task, job, stream = ARGV[1], ARGV[4], ARGV[5]
if not owns(task, ARGV[2]) then return -1 end
extend(task, tonumber(ARGV[3]))
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local last_ms, last_seq = -1, -1
local tail = redis.call('XREVRANGE', stream, '+', '-', 'COUNT', 1)
if tail[1] then last_ms, last_seq = parse(tail[1][1]) end
local added = 0
if ARGV[7] == '1' then redis.call('SADD', gapped_key(job), string.match(task, ':(%d+)$')) end
for i = 8, #ARGV, 2 do
  local ms, seq = parse(ARGV[i])
  if ms > last_ms or (ms == last_ms and seq > last_seq) then
    redis.call('XADD', stream, ARGV[i], 'record', ARGV[i + 1])
    last_ms, last_seq, added = ms, seq, added + 1
  end
end
if ARGV[6] == '1' and added > 0 then
  local key, t = job_key(job), now()
  local done = redis.call('HINCRBY', key, 'frames_done', added)
  local total, step = tonumber(get(key, 'frames_total') or 0), tonumber(get(key, 'webhook_step') or 0)
  if step > 0 and done < total then
    local reached = math.floor(100 * done / total / step)
    if reached > tonumber(get(key, 'progress_told') or 0) then
      redis.call('HSET', key, 'progress_told', reached)
      announce(job, 'job.progress', nil, 0) -- the sweeper rings
    end
  end
  if t - tonumber(get(key, 'progress_at') or 0) >= 250 then
    redis.call('HSET', key, 'progress_at', t)
    redis.call('XADD', events_key(job), 'MAXLEN', '~', 10000, '*', 'type', 'progress', 'at', t, 'frames_done', done)
  end
end
return added
