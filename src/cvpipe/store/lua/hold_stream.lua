-- ARGV: key, stream, limit, ms. Holds one of the streams that a key may have, or holds on to it; for so long. 0: none left.
local key, t = P .. 'streams:' .. ARGV[1], now()
redis.call('ZREMRANGEBYSCORE', key, '-inf', t)
if not redis.call('ZSCORE', key, ARGV[2]) and redis.call('ZCARD', key) >= tonumber(ARGV[3]) then return 0 end
redis.call('ZADD', key, t + tonumber(ARGV[4]), ARGV[2])
redis.call('PEXPIRE', key, ARGV[4])
return 1
