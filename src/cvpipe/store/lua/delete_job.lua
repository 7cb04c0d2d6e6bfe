-- ARGV: job. Returns 1, or 0 where there is none, or -1 where it is not over.
local job, key = ARGV[1], job_key(ARGV[1])
local state = get(key, 'state')
if not state then return 0 end
if not FINAL[state] then return -1 end
for _, task in ipairs(redis.call('SMEMBERS', tasks_key(job))) do drop(task) end
local plan = get(key, 'plan')
if plan then
  for s = 0, #cjson.decode(plan) - 1 do
    redis.call('DEL', state_key(job, s))
    for c = 0, tonumber(get(key, 'chunks_total')) - 1 do
      redis.call('DEL', chunk_key(job, s, c), old(chunk_key(job, s, c)), picks_key(job, s, c))
    end
  end
end
for _, number in ipairs(redis.call('HKEYS', messages_key(job))) do drop(notify_task(job, number)) end
redis.call('DEL', calls_key(job), messages_key(job), bodies_key(job), key, tasks_key(job), events_key(job), done_key(job), frames_key(job), gapped_key(job), gaps_key(job),
  leaving_key(job), held_key(job),
  old(done_key(job)), old(frames_key(job)), old(gapped_key(job)), log_key(job), old(log_key(job)),
  tracks_key(job), old(tracks_key(job)),
  key .. ':deliveries')
local tenant = tenant_of(job)
redis.call('ZREM', jobs_key(tenant), job)
redis.call('ZREM', P .. 'ended', job)
if redis.call('EXISTS', jobs_key(tenant)) == 0 then redis.call('SREM', P .. 'tenants', tenant) end
return 1
