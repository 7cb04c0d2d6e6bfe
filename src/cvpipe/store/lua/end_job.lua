-- ARGV: job, task, token, state, error (json or ''), exports (json), gaps (json or ''), how many, summary (json),
-- exports that failed (json), grace ms, further fields (json)
local job, key = ARGV[1], job_key(ARGV[1])
if not owns(ARGV[2], ARGV[3]) then return false end
if FINAL[get(key, 'state')] then return false end
local out = transition(job, ARGV[4], tonumber(ARGV[11]))
if ARGV[5] ~= '' then redis.call('HSET', key, 'error', ARGV[5]) end
redis.call('HSET', key, 'exports', ARGV[6], 'gaps_total', ARGV[8], 'summary', ARGV[9], 'exports_failed', ARGV[10])
for field, value in pairs(cjson.decode(ARGV[12])) do redis.call('HSET', key, field, value) end
if ARGV[7] == '' then redis.call('DEL', gaps_key(job)) else redis.call('SET', gaps_key(job), ARGV[7]) end
return rings(out)
