-- ARGV: jobs. For each what it waits for, see `wait.lua`.
local out, t = {}, now()
for _, job in ipairs(ARGV) do table.insert(out, wait_of(job, t)) end
return out
