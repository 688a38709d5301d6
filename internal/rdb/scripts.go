package rdb

import "github.com/redis/go-redis/v9"

// enterLive adds entries to a worker's live view and refreshes its end, at once, so that no view outlives its worker.
//
//	KEYS[1]      the worker's live view
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
