-- ARGV: task, token, lease ms, job, grace ms, then id, event (packed), event (json), ... Returns {how many were new, rings}.
-- An id that is not above the log's last one is skipped: a duplicate writes, and tells, nothing twice.
local task, job, grace = ARGV[1], ARGV[4], tonumber(ARGV[5])
if not owns(task, ARGV[2]) then return { -1, {} } end
extend(task, tonumber(ARGV[3]))
local function parse(id)
  local ms, seq = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(seq)
end
local last_ms, last_seq = -1, -1
local tail = redis.call('XREVRANGE', log_key(job), '+', '-', 'COUNT', 1)
if tail[1] then last_ms, last_seq = parse(tail[1][1]) end
local added, tasks = 0, {}
for i = 6, #ARGV, 3 do
  local ms, seq = parse(ARGV[i])
  if ms > last_ms or (ms == last_ms and seq > last_seq) then
    redis.call('XADD', log_key(job), ARGV[i], 'record', ARGV[i + 1])
    last_ms, last_seq, added = ms, seq, added + 1
    for _, message in ipairs(announce(job, 'job.event', ARGV[i + 2], grace)) do table.insert(tasks, message) end
  end
end
return { added, rings(tasks) }
