-- ARGV: job, doc, priority, events that its webhook wants (by spaces), percent between progress messages,
-- idempotency key, its digest, its ttl ms, grace ms, API key (or ''), how many open jobs it may have (0: any number)
-- Returns {job, verdict, rings}; of a new one also when it was made, and what it waits for, see `wait.lua`.
local job, doc, priority, webhook, step = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local tenant = tenant_of(job)
local t = now()
local idem, digest, ttl, grace = ARGV[6], ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
if redis.call('EXISTS', job_key(job)) == 1 then -- asked again, because the answer got lost
  return { job, 'again', rings({ 'ingest:' .. job }) }
end
local holder, limit = ARGV[10], tonumber(ARGV[11])
if idem ~= '' then
  local key = P .. 'idempotency:' .. tenant .. '/' .. idem
  local known = get(key, 'job')
  if known then return { known, get(key, 'digest') == digest and 'same' or 'other', {} } end
end
if limit > 0 and redis.call('SCARD', open_key(holder)) >= limit then return { '', 'full', {} } end
if idem ~= '' then
  local key = P .. 'idempotency:' .. tenant .. '/' .. idem
  redis.call('HSET', key, 'job', job, 'digest', digest)
  redis.call('PEXPIRE', key, ttl)
end
redis.call('HSET', job_key(job), 'doc', doc, 'priority', priority, 'webhook', webhook, 'webhook_step', step, 'created_at', t,
  'frames_done', 0, 'chunks_done', 0, 'chunks_failed', 0)
if holder ~= '' then redis.call('HSET', job_key(job), 'key', holder) end
local timeout = cjson.decode(doc)['timeout_seconds']
if type(timeout) == 'number' then redis.call('HSET', job_key(job), 'timeout_ms', math.floor(timeout * 1000)) end
redis.call('ZADD', jobs_key(tenant), t, job)
redis.call('SADD', P .. 'tenants', tenant)
local tasks = transition(job, 'queued', grace)
put('ingest:' .. job, job, 'ingest', priority, grace)
table.insert(tasks, 'ingest:' .. job)
return { job, 'new', rings(tasks), t, wait_of(job, t) }
