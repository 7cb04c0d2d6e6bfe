-- ARGV: task, token, lease ms
if not owns(ARGV[1], ARGV[2]) then return 0 end
extend(ARGV[1], tonumber(ARGV[3]))
return 1
