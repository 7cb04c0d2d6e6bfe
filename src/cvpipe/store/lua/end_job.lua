-- ARGV: job, task, token, state, error (json or ''), exports (json), grace ms
local job, key = ARGV[1], job_key(ARGV[1])
if not owns(ARGV[2], ARGV[3]) then return false end
if FINAL[get(key, 'state')] then return false end
if ARGV[5] ~= '' then redis.call('HSET', key, 'error', ARGV[5]) end
redis.call('HSET', key, 'exports', ARGV[6])
return rings(transition(job, ARGV[4], tonumber(ARGV[7])))
