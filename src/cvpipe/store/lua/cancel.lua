-- ARGV: job, grace ms. Returns {state before, rings}. Revokes every token: who still works on the job can write no more.
local key = job_key(ARGV[1])
local state = get(key, 'state')
if not state or FINAL[state] then return { state or '', {} } end
return { state, rings(transition(ARGV[1], 'canceled', tonumber(ARGV[2]))) }
