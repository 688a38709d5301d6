package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

// redis looks at the live view. Everything in it can be lost, so little can be wrong.
func redis(ctx context.Context, c *config.Config, p Probes) []Finding {
	const a area = "redis"
	if !c.Redis.URL.IsSet() {
		if alone(c) {
			return []Finding{a.ok("connection", "embedded in standalone")}
		}
		return nil // said by settings
	}
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	r, err := p.Redis(ctx, c)
	if err != nil {
		return []Finding{a.problem("connection", c.Redis.URL.String()+": "+err.Error(), "correct the address in "+c.Source("redis.url"))}
	}
	defer r.Close()
	began := time.Now()
	if err := r.Ping(ctx); err != nil {
		return []Finding{a.problem("connection", c.Redis.URL.String()+": "+err.Error(),
			"start the server; check address, user and password in "+c.Source("redis.url")+"; until then tasks run, but cancel takes seconds and the live view is off")}
	}
	took := time.Since(began).Round(100 * time.Microsecond)
	info, err := r.Info(ctx)
	if err != nil {
		return []Finding{a.warn("version", "INFO: "+err.Error(), "allow the command INFO to this user")}
	}
	out := []Finding{a.ok("version", fmt.Sprintf("Redis %s at %s, answers in %s", orUnknown(info["redis_version"]), c.Redis.URL, took))}
	switch role := info["role"]; role {
	case "slave", "replica":
		out = append(out, a.problem("role", "a replica: it takes no writes", "connect to the primary, or to its sentinels with redis-sentinel://host,host/0?master=name"))
	case "":
	default:
		out = append(out, a.ok("role", role))
	}
	if policy := info["maxmemory_policy"]; len(policy) > 7 && policy[:7] == "allkeys" {
		out = append(out, a.warn("maxmemory_policy", policy+": nonces and sessions may vanish early when memory is short", "set maxmemory-policy volatile-ttl or noeviction"))
	}
	return out
}

func orUnknown(text string) string {
	if text == "" {
		return "of unknown version"
	}
	return text
}
