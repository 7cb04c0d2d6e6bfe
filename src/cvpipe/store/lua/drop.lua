-- ARGV: task, token. Ends a task that leads to nothing else.
if not owns(ARGV[1], ARGV[2]) then return 0 end
drop(ARGV[1])
return 1
