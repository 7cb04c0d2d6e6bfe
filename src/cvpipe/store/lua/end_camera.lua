-- ARGV: task, token, camera, version, the camera with its lens (JSON; '': none was found), error (JSON; '': none).
-- Ends the task. A camera that was removed meanwhile stays so.
if not owns(ARGV[1], ARGV[2]) then return -1 end
local key, version = camera_key(ARGV[3]), ARGV[4]
if get(key, version .. ':sent') then
  redis.call('HSET', key, version .. ':state', ARGV[6] == '' and 'ready' or 'failed')
  if ARGV[5] ~= '' then redis.call('HSET', key, version .. ':found', ARGV[5]) end
  if ARGV[6] ~= '' then redis.call('HSET', key, version .. ':error', ARGV[6]) end
end
drop(ARGV[1])
return 1
