-- ARGV: task, token, lease ms. Returns {verdict, crashes, failures, attempts}.
return claim(ARGV[1], ARGV[2], tonumber(ARGV[3]), function(job) transition(job, 'running', 0) end)
