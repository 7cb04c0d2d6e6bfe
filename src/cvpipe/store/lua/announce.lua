-- ARGV: job, event, once (0/1), data (json), grace ms. Tells of an event that is no change of state, if its receiver wants it.
-- once: only the first time.
local job, event = ARGV[1], ARGV[2]
local key = job_key(job)
if redis.call('EXISTS', key) == 0 then return {} end
if ARGV[3] == '1' and redis.call('HSETNX', key, 'told|' .. event, 1) == 0 then return {} end
return rings(announce(job, event, ARGV[4], tonumber(ARGV[5])))
