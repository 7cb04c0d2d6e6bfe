-- ARGV: id, document (json), digest of the secret, only the first (0/1). Returns 0 where there are keys already.
if ARGV[4] == '1' and redis.call('EXISTS', P .. 'keys') == 1 and redis.call('SISMEMBER', P .. 'keys', ARGV[1]) == 0 then
  return 0
end
redis.call('HSET', P .. 'key:' .. ARGV[1], 'doc', ARGV[2], 'digest', ARGV[3])
redis.call('SADD', P .. 'keys', ARGV[1])
return 1
