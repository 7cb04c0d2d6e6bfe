-- ARGV: task, token, lease ms, job, call, record (json). Writes a call into its job's ledger, if the task is still ours.
if not owns(ARGV[1], ARGV[2]) then return 0 end
extend(ARGV[1], tonumber(ARGV[3]))
redis.call('HSET', calls_key(ARGV[4]), ARGV[5], ARGV[6])
return 1
