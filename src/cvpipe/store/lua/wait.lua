-- What a job waits for: {kind, queue, number}. Kinds: '' (nothing, or not known here), 'slot' (number: of jobs of its tenant
-- that are at work), 'line' (number: of jobs ahead of it in the queue), 'retry' (number: ms). t: now.
local function wait_of(job, t)
  local key = job_key(job)
  local state = get(key, 'state')
  if state ~= 'queued' and state ~= 'running' then return { '', '', 0 } end
  if get(key, 'parked') == '1' then return { 'slot', '', redis.call('SCARD', active_key(tenant_of(job))) } end
  for _, task in ipairs(redis.call('SMEMBERS', held_key(job))) do
    if tonumber(get(task_key(task), 'lease_until') or 0) > t then return { '', '', 0 } end
  end
  local task = redis.call('SRANDMEMBER', tasks_key(job))
  if not task then return { '', '', 0 } end
  local queue, not_before = get(task_key(task), 'queue'), tonumber(get(task_key(task), 'not_before'))
  local rank = redis.call('ZRANK', order_key(queue), job)
  if rank then return { 'line', queue, rank } end
  if not_before > t then return { 'retry', queue, not_before - t } end
  return { '', '', 0 }
end
