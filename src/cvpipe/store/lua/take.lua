-- ARGV: queue ('': that of the task), task that was rung for, token, lease ms. Returns {task or '', crashes, failures,
-- attempts}. A ring only says that there is something to do in a queue; what is to be done first is decided here, so that
-- priorities and fair shares hold across all workers, whatever lies in whose hands or in the broker.
local queue, token, lease = ARGV[1], ARGV[3], tonumber(ARGV[4])
if queue == '' then queue = get(task_key(ARGV[2]), 'queue') end
if not queue then return { '', 0, 0, 0 } end
local taken = redis.call('GET', P .. 'taken:' .. token) -- asked again, because the answer got lost
local task = taken or next_in_line(queue)
while task do
  local got = claim(task, token, lease, function(job) transition(job, 'running', 0) end)
  if got[1] == 'ok' then
    redis.call('SET', P .. 'taken:' .. token, task, 'PX', 60000)
    got[1] = task
    return got
  end
  exit(task)
  task = next_in_line(queue)
end
return { '', 0, 0, 0 }
