-- ARGV: key, requests per minute. Returns 0, or for how many ms the key must wait.
-- One number a key: when its bucket, which holds a minute's requests, will be full again.
local key, t, each = P .. 'rate:' .. ARGV[1], now(), 60000 / tonumber(ARGV[2])
local full_at = math.max(tonumber(redis.call('GET', key) or 0), t) + each
if full_at - t > 60000 + 0.5 then return math.ceil(full_at - t - 60000) end
redis.call('SET', key, string.format('%.3f', full_at), 'PX', 61000)
return 0
