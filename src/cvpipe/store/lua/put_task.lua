-- ARGV: task, queue, priority, grace ms. For tasks that belong to no job.
put(ARGV[1], '', ARGV[2], ARGV[3], tonumber(ARGV[4]))
return rings({ ARGV[1] })
