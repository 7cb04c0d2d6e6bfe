-- ARGV: task, token, lease ms, job, segment, then chunk, picks, chunk, picks, ... What a segment of crops is to make.
if not owns(ARGV[1], ARGV[2]) then return 0 end
extend(ARGV[1], tonumber(ARGV[3]))
for i = 6, #ARGV, 2 do redis.call('SET', picks_key(ARGV[4], ARGV[5], ARGV[i]), ARGV[i + 1]) end
return 1
