-- ARGV: ttl of idempotency keys ms, grace ms; then for each job: its name, doc, priority, events that its webhook wants (by
-- spaces), percent between progress messages, idempotency key, its digest, API key (or ''), how many open jobs that may
-- have (0: any number), timeout ms (or '')
-- Returns for each job {job, verdict, rings}; of a new one also when it was made, and what it waits for, see `wait.lua`; or
-- the error that it met, which is no other's.
local ttl, grace = ARGV[1], tonumber(ARGV[2])
local t = now()

local function submit(job, doc, priority, webhook, step, idem, digest, holder, limit, timeout)
  local tenant = tenant_of(job)
  if redis.call('EXISTS', job_key(job)) == 1 then -- asked again, because the answer got lost
    return { job, 'again', rings({ 'ingest:' .. job }) }
  end
  local idem_key = P .. 'idempotency:' .. tenant .. '/' .. idem
  if idem ~= '' then
    local known = get(idem_key, 'job')
    if known then return { known, get(idem_key, 'digest') == digest and 'same' or 'other', {} } end
  end
  if limit > 0 and redis.call('SCARD', open_key(holder)) >= limit then return { '', 'full', {} } end
  if idem ~= '' then
    redis.call('HSET', idem_key, 'job', job, 'digest', digest)
    redis.call('PEXPIRE', idem_key, ttl)
  end
  local fields = { 'doc', doc, 'priority', priority, 'webhook', webhook, 'webhook_step', step, 'created_at', t,
    'frames_done', 0, 'chunks_done', 0, 'chunks_failed', 0 }
  for name, value in pairs({ key = holder, timeout_ms = timeout }) do
    if value ~= '' then fields[#fields + 1], fields[#fields + 2] = name, value end
  end
  redis.call('HSET', job_key(job), unpack(fields))
  redis.call('ZADD', jobs_key(tenant), t, job)
  redis.call('SADD', P .. 'tenants', tenant)
  local tasks = transition(job, 'queued', grace)
  put('ingest:' .. job, job, 'ingest', priority, grace)
  table.insert(tasks, 'ingest:' .. job)
  return { job, 'new', rings(tasks), t, wait_of(job, t) }
end

local out = {}
for i = 3, #ARGV, 10 do
  local job, doc, priority, webhook, step, idem, digest, holder, limit, timeout = unpack(ARGV, i, i + 9)
  local went, said = pcall(submit, job, doc, priority, webhook, step, idem, digest, holder, tonumber(limit), timeout)
  if not went then said = { err = type(said) == 'table' and said.err or tostring(said) } end
  table.insert(out, said)
end
return out
