-- ARGV: origin, task, token, ms that the attempt takes at most. Returns 0 where a receiver may be called now, else how many ms
-- to wait. Two calls at a time, one to a receiver that has not answered three times on end: who is slow or dead holds no more
-- of those who call. Those who wait get times that lie as far apart as the receiver is slow.
local key, t = receiver_key(ARGV[1]), now()
local held, mine = key .. ':held', ARGV[2] .. ' ' .. ARGV[3]
redis.call('ZREMRANGEBYSCORE', held, '-inf', t)
for _, member in ipairs(redis.call('ZRANGE', held, 0, -1)) do -- of one who died, the place is free with the lease
  local its_task, its_token = string.match(member, '^(.*) (.*)$')
  if not owns(its_task, its_token) or tonumber(get(task_key(its_task), 'lease_until')) <= t then
    redis.call('ZREM', held, member)
  end
end
local known = redis.call('HMGET', key, 'silent', 'took', 'next')
local silent, took, next_at = tonumber(known[1] or 0), tonumber(known[2] or 0), tonumber(known[3] or 0)
local limit = silent >= 3 and 1 or 2
if redis.call('ZSCORE', held, mine) or redis.call('ZCARD', held) < limit then
  redis.call('ZADD', held, t + tonumber(ARGV[4]), mine)
  redis.call('PEXPIRE', held, tonumber(ARGV[4]))
  return 0
end
next_at = math.max(t, next_at) + math.max(20, took / limit)
if next_at > t + 60000 then return 60000 end
redis.call('HSET', key, 'next', math.floor(next_at))
redis.call('PEXPIRE', key, 3600000)
return math.floor(next_at - t)
