-- ARGV: job, task, token, grace ms. A worker has let go of what was taken away from it; the last one ends a cancel.
local job = ARGV[1]
if redis.call('SREM', leaving_key(job), ARGV[2] .. ' ' .. ARGV[3]) == 0 then return {} end
if redis.call('SCARD', leaving_key(job)) > 0 or get(job_key(job), 'state') ~= 'canceling' then return {} end
return rings(end_cancel(job, tonumber(ARGV[4])))
