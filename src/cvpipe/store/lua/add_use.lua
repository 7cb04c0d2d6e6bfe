-- ARGV: job, then model, field, number, model, field, number, ... Adds up what a job has used, if it is still there.
local key = job_key(ARGV[1])
if redis.call('EXISTS', key) == 0 then return 0 end
for i = 2, #ARGV, 3 do redis.call('HINCRBYFLOAT', key, 'use|' .. ARGV[i] .. '|' .. ARGV[i + 1], ARGV[i + 2]) end
return 1
