-- ARGV: id, when (seconds). Returns 0 where there is no such key. One that was revoked before keeps its time.
local key = P .. 'key:' .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 0 end
redis.call('HSETNX', key, 'revoked_at', ARGV[2])
return 1
