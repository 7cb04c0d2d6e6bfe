-- ARGV: job, id of the request, grace ms. Returns {verdict, state before, rings}. Runs the frames that have no results again.
local job, request, grace = ARGV[1], ARGV[2], tonumber(ARGV[3])
local key = job_key(job)
local state = get(key, 'state')
if not state then return { 'none', '', {} } end
if get(key, 'asked') == request then -- asked again, because the answer got lost
  return { 'ok', state, rings(redis.call('SMEMBERS', tasks_key(job))) }
end
if state ~= 'succeeded_with_gaps' and state ~= 'failed' then return { 'state', state, {} } end
-- What is found on frames that had no results could end the job earlier; calls outside may be made again.
local may_stop = type(cjson.decode(get(key, 'doc'))['stop_when']) == 'string'
if may_stop and (state == 'failed' or tonumber(get(key, 'gaps_total') or 0) > 0) then return { 'stops', state, {} } end
if not plan_of(job) or redis.call('SCARD', gapped_key(job)) == 0 then return { 'nothing', state, {} } end
redis.call('HINCRBY', key, 'repairs', 1)
return { 'ok', state, redo(job, request, grace) }
