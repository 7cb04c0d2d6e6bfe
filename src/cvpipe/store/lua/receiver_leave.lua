-- ARGV: origin, task, token, ms that the attempt took, answered (0/1). The call that `receiver_enter` allowed is over.
local key = receiver_key(ARGV[1])
redis.call('ZREM', key .. ':held', ARGV[2] .. ' ' .. ARGV[3])
redis.call('HSET', key, 'took', ARGV[4])
if ARGV[5] == '1' then redis.call('HDEL', key, 'silent') else redis.call('HINCRBY', key, 'silent', 1) end
redis.call('PEXPIRE', key, 3600000)
