package rdb

import "github.com/redis/go-redis/v9"

// enterLive adds entries to a worker's live view, or to its tasks' reports, and refreshes its end, at once, so that neither
// outlives its worker.
//
//	KEYS[1]      the worker's live view, or its reports
//	ARGV[1]      ms until it ends
//	ARGV[2]      most entries it may hold
//	ARGV[3 …]    task id, entry, task id, entry, …
//	returns      how many of the given entries are in the view now; those beyond the bound are left out
var enterLive = redis.NewScript(`
local kept = 0
local room = tonumber(ARGV[2]) - redis.call('HLEN', KEYS[1])
for i = 3, #ARGV, 2 do
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1])
    kept = kept + 1
  elseif room > 0 then
    redis.call('HSET', KEYS[1], ARGV[i], ARGV[i+1])
    room = room - 1
    kept = kept + 1
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return kept`)

// joinAudience says that somebody listens to events.
//
//	KEYS[1]  the audience's key
//	KEYS[2]  the key that is there while the audience is young
//	ARGV[1]  the generation that begins when there is no audience
//	ARGV[2]  ms until the audience ends
//	ARGV[3]  ms until it is not young any more
//	returns  the generation, and 1 when it is young
var joinAudience = redis.NewScript(`
local generation = redis.call('GET', KEYS[1])
if not generation then
  generation = ARGV[1]
  redis.call('SET', KEYS[1], generation, 'PX', ARGV[2])
  redis.call('SET', KEYS[2], '1', 'PX', ARGV[3])
else
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return {generation, redis.call('EXISTS', KEYS[2])}`)
