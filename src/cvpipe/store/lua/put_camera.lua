-- ARGV: tenant, name, what was sent (JSON), its state, create (1: refuse where another is there) or not (0), time, task
-- ('': none), grace ms. A version that says the same as the newest is the newest.
-- Returns the version, whether it is new (1), and rings; version 0: there is another camera of this name.
local tenant, name, sent, state = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local key = camera_key(tenant .. '/' .. name)
local newest = tonumber(get(key, 'newest') or 0)
if newest > 0 and get(key, newest .. ':sent') == sent and get(key, newest .. ':state') ~= 'failed' then
  return { newest, 0, {} }
end
if newest > 0 and ARGV[5] == '1' then return { 0, 0, {} } end
local version = newest + 1
redis.call('HSET', key, 'newest', version, version .. ':sent', sent, version .. ':state', state,
  version .. ':created_at', ARGV[6])
redis.call('SADD', cameras_key(tenant), name)
if ARGV[7] == '' then return { version, 1, {} } end
local task = ARGV[7] .. '@' .. version
put(task, '', 'media', 9, tonumber(ARGV[8]))
return { version, 1, rings({ task }) }
