-- ARGV: job, what it waits for ('': it goes on). Says so with the job, if it is there and has not said so yet.
local job, what = ARGV[1], ARGV[2]
local key = job_key(job)
local state = get(key, 'state')
if not state or FINAL[state] or (get(key, 'waiting') or '') == what then return 0 end
if what == '' then redis.call('HDEL', key, 'waiting') else redis.call('HSET', key, 'waiting', what) end
redis.call('XADD', events_key(job), 'MAXLEN', '~', 10000, '*', 'type', 'waiting', 'at', now())
return 1
