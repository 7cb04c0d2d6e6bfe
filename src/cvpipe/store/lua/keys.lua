-- Put first into every script, behind the tables TRANSITIONS and FINAL, which are made of those in `job.py`. Keys are built
-- here and nowhere else; the server's clock is the only clock.
local P = 'cvpipe:'
local DUE = P .. 'due'

local function now()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000 + math.floor(tonumber(t[2]) / 1000)
end

-- A job's name is `<tenant>/<id>`, so each of its keys and tasks has the tenant in it.
local function tenant_of(job) return string.match(job, '^([^/]+)/.') end
local function jobs_key(tenant) return P .. 'jobs:' .. tenant end
local function open_key(holder) return P .. 'open:' .. holder end -- jobs of an API key that are not over
local function job_key(job) return P .. 'job:' .. job end
local function tasks_key(job) return P .. 'job:' .. job .. ':tasks' end
local function events_key(job) return P .. 'job:' .. job .. ':events' end
local function done_key(job) return P .. 'job:' .. job .. ':done' end
local function state_key(job, segment) return P .. 'job:' .. job .. ':state:' .. segment end
local function chunk_key(job, segment, chunk) return P .. 'job:' .. job .. ':c:' .. segment .. ':' .. chunk end
local function log_key(job) return P .. 'job:' .. job .. ':log' end
local function frames_key(job) return P .. 'job:' .. job .. ':frames' end
local function gapped_key(job) return P .. 'job:' .. job .. ':gapped' end
local function gaps_key(job) return P .. 'job:' .. job .. ':gaps' end
local function leaving_key(job) return P .. 'job:' .. job .. ':leaving' end -- who still holds what a cancel has taken away
local function calls_key(job) return P .. 'job:' .. job .. ':calls' end
local function messages_key(job) return P .. 'job:' .. job .. ':messages' end
local function bodies_key(job) return P .. 'job:' .. job .. ':bodies' end
local function receiver_key(origin) return P .. 'receiver:' .. origin end
local function held_key(job) return P .. 'job:' .. job .. ':held' end -- tasks that somebody holds, or held until his lease ran out
local function old(key) return key .. ':old' end -- what a repair goes on from
local function camera_key(camera) return P .. 'camera:' .. camera end -- `<tenant>/<name>` too
local function cameras_key(tenant) return P .. 'cameras:' .. tenant end
local function picks_key(job, segment, chunk) return P .. 'job:' .. job .. ':picks:' .. segment .. ':' .. chunk end
local function tracks_key(job) return P .. 'job:' .. job .. ':tracks' end
local function task_key(task) return P .. 'task:' .. task end
-- In `due` beside tasks: when the sweeper must look at a job by itself. No message is ever sent for it.
local function clock(job) return 'clock:' .. job end

local function get(key, field)
  local value = redis.call('HGET', key, field)
  if value == false then return nil end
  return value
end
