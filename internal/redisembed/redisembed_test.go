package redisembed_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/redisembed"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t *testing.T, url string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// A nonce (string with a time to live), a session (refreshed string) and a live entry (hash) end as with a real Redis,
// which miniredis alone never does.
func TestKeysEnd(t *testing.T) {
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c, ctx := open(t, s.URL()), context.Background()
	if ok, err := c.SetNX(ctx, "nonce", 1, 1500*time.Millisecond).Result(); !ok || err != nil {
		t.Fatalf("burn: %v %v", ok, err)
	}
	if ok, _ := c.SetNX(ctx, "nonce", 1, time.Second).Result(); ok {
		t.Fatal("a nonce was fresh twice")
	}
	c.Set(ctx, "session", "ann", time.Minute)
	c.Expire(ctx, "session", 1500*time.Millisecond)
	c.HSet(ctx, "live", "17", "{}")
	c.PExpire(ctx, "live", 1500*time.Millisecond)
	c.Set(ctx, "kept", 1, time.Hour)
	if n, err := c.Exists(ctx, "nonce", "session", "live", "kept").Result(); n != 4 || err != nil {
		t.Fatalf("%d keys at the start, err %v", n, err)
	}
	start := time.Now()
	for {
		n, err := c.Exists(ctx, "nonce", "session", "live").Result()
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("%d keys have not ended", n)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if ttl, err := c.TTL(ctx, "kept").Result(); err != nil || ttl > time.Hour-time.Second || ttl < time.Hour-time.Minute {
		t.Fatalf("the kept key has %v left, err %v", ttl, err)
	}
	if ok, _ := c.SetNX(ctx, "nonce", 1, time.Second).Result(); !ok {
		t.Fatal("a nonce that ended is not fresh")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	o, _ := redis.ParseURL(s.URL())
	o.Password = ""
	c := redis.NewClient(o)
	defer c.Close()
	if err := c.Get(context.Background(), "x").Err(); err == nil || err == redis.Nil {
		t.Fatalf("without the password: %v", err)
	}
}

func TestRestartKeepsTheURLAndLosesTheRest(t *testing.T) {
	s, err := redisembed.Start()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Restart(); err == nil {
		t.Fatal("restarted a server that runs")
	}
	c, ctx := open(t, s.URL()), context.Background()
	c.Set(ctx, "k", 1, 0)
	s.Close()
	s.Close()
	again, err := s.Restart()
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if again.URL() != s.URL() {
		t.Fatalf("url %s became %s", s.URL(), again.URL())
	}
	if n, err := open(t, again.URL()).Exists(ctx, "k").Result(); n != 0 || err != nil {
		t.Fatalf("after a restart: %d keys, err %v", n, err)
	}
}
