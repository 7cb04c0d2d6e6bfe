-- ARGV: video. Removes what is known of it. Returns 0 where there is nothing.
local key = P .. 'video:' .. ARGV[1]
local holder = get(key, 'key')
if holder then redis.call('SREM', P .. 'videos:' .. holder, ARGV[1]) end
return redis.call('DEL', key)
