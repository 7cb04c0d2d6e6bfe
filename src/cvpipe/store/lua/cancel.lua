-- ARGV: job, grace ms. Returns {state before, rings}. Revokes every token: who still works on the job can write no more.
-- A repair that is canceled leaves the job as it was before.
local key = job_key(ARGV[1])
local state = get(key, 'state')
if not state or FINAL[state] then return { state or '', {} } end
local before = get(key, 'before')
return { state, rings(transition(ARGV[1], before and cjson.decode(before)['state'] or 'canceled', tonumber(ARGV[2]))) }
