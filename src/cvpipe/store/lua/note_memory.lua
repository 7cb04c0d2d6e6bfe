-- ARGV: job, bytes. Keeps the most memory that a worker took while it worked on the job, if the job is still there.
local key, bytes = job_key(ARGV[1]), tonumber(ARGV[2])
if redis.call('EXISTS', key) == 1 and bytes > tonumber(get(key, 'memory_bytes') or 0) then
  redis.call('HSET', key, 'memory_bytes', ARGV[2])
end
return 1
