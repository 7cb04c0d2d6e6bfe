-- Lines: what may be claimed, in the order in which `take` hands it out, for each queue.
-- `ready:QUEUE` holds groups `PRIORITY TENANT` of tasks, the most urgent first; among those of one priority, the tenant who
-- has had the fewest turns. `line:QUEUE:GROUP` holds a group's tasks, those of the oldest job first, in order of its chunks.
-- `order:QUEUE` ranks the jobs that have tasks there, `count:QUEUE` counts these tasks: how many jobs are ahead.
local TURNS = 1e12 -- more turns than anybody takes
local function ready_key(queue) return P .. 'ready:' .. queue end
local function line_key(queue, group) return P .. 'line:' .. queue .. ':' .. group end
local function order_key(queue) return P .. 'order:' .. queue end
local function count_key(queue) return P .. 'count:' .. queue end
local function turn_key(queue) return P .. 'turn:' .. queue end

local function group_of(task)
  local tenant = string.match(task, '^%a+:([^:/]+)/') or ''
  return get(task_key(task), 'priority') .. ' ' .. tenant
end

local function base_of(group) return (9 - tonumber(string.match(group, '^%d+'))) * TURNS end

-- A task may be claimed. Nothing happens to one that stands in line.
local function enter(task)
  local queue, job, group = get(task_key(task), 'queue'), get(task_key(task), 'job'), group_of(task)
  local made = job ~= '' and get(job_key(job), 'created_at') or now()
  local chunk = math.min(tonumber(string.match(task, ':(%d+)$')) or 0, 4095)
  if redis.call('ZADD', line_key(queue, group), 'NX', tonumber(made) * 4096 + chunk, task) == 0 then return end
  if not redis.call('ZSCORE', ready_key(queue), group) then
    -- Who had nothing to do has saved nothing up: it comes after the turn that was given last.
    local last = tonumber(redis.call('HGET', turn_key(queue), string.match(group, '^%d+')) or 0)
    redis.call('ZADD', ready_key(queue), base_of(group) + last, group)
  end
  if job ~= '' and redis.call('HINCRBY', count_key(queue), job, 1) == 1 then
    redis.call('ZADD', order_key(queue), (9 - tonumber(get(task_key(task), 'priority'))) * 2 ^ 42 + tonumber(made), job)
  end
end

-- A task may not be claimed any more. Nothing happens to one that stands in no line.
local function exit(task)
  local queue = get(task_key(task), 'queue')
  if not queue then return end
  local job, group = get(task_key(task), 'job'), group_of(task)
  if redis.call('ZREM', line_key(queue, group), task) == 0 then return end
  if redis.call('EXISTS', line_key(queue, group)) == 0 then
    redis.call('ZREM', ready_key(queue), group)
    if redis.call('EXISTS', ready_key(queue)) == 0 then redis.call('DEL', turn_key(queue)) end
  end
  if job ~= '' and redis.call('HINCRBY', count_key(queue), job, -1) == 0 then
    redis.call('HDEL', count_key(queue), job)
    redis.call('ZREM', order_key(queue), job)
  end
end

-- The task whose turn it is, or nil. The turn is taken: its tenant goes behind the others of the same priority.
local function next_in_line(queue)
  local group = redis.call('ZRANGE', ready_key(queue), 0, 0)[1]
  if not group then return nil end
  local turn = tonumber(redis.call('ZSCORE', ready_key(queue), group)) - base_of(group)
  redis.call('HSET', turn_key(queue), string.match(group, '^%d+'), turn)
  redis.call('ZINCRBY', ready_key(queue), 1, group)
  return redis.call('ZRANGE', line_key(queue, group), 0, 0)[1]
end
