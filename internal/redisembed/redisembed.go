// Package redisembed runs a Redis inside the process, so that a standalone Taskweir needs nothing installed. It is
// miniredis, which speaks the protocol and holds everything in memory. That is enough: Redis is the live view and may be
// lost at any time.
//
// Two things a real Redis does by itself are added here. Keys end: miniredis never expires a key, so a goroutine moves
// its clock on by the monotonic time that passed. Strangers stay out: every local user can reach a loopback port, so a
// password is drawn at every start, and the only way to learn it is URL.
package redisembed

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// tick is how often the clock moves on: keys live up to this much longer than on a real Redis, never shorter.
const tick = time.Second

// Server is a running embedded Redis.
type Server struct {
	redis    *miniredis.Miniredis
	addr     string
	password string
	stop     chan struct{}
	stopped  sync.Once
	clock    sync.WaitGroup
}

// Start runs a Redis on a free port of 127.0.0.1. Close ends it.
func Start() (*Server, error) { return startAt("127.0.0.1:0", rand.Text()) }

// Restart runs a new, empty Redis where a closed one was, with the same URL: what a crash and a restart look like.
func (s *Server) Restart() (*Server, error) {
	select {
	case <-s.stop:
	default:
		return nil, errors.New("restart embedded redis: it still runs")
	}
	return startAt(s.addr, s.password)
}

func startAt(addr, password string) (*Server, error) {
	s := &Server{redis: miniredis.NewMiniRedis(), password: password, stop: make(chan struct{})}
	s.redis.RequireAuth(password)
	if err := s.redis.StartAddr(addr); err != nil {
		return nil, fmt.Errorf("start embedded redis: %w", err)
	}
	s.addr = s.redis.Addr()
	s.clock.Go(s.runClock)
	return s, nil
}

// URL is the address with the password, as rdb.Open takes it: redis://:password@127.0.0.1:port/
func (s *Server) URL() string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", s.password), Host: s.addr, Path: "/"}
	return u.String()
}

// Close ends the server and its connections and waits for its clock. It may be called more than once.
func (s *Server) Close() {
	s.stopped.Do(func() {
		close(s.stop)
		s.clock.Wait()
		s.redis.Close()
	})
}

// runClock moves the clock on by what really passed, not by what the ticker promises: a suspended process catches up.
func (s *Server) runClock() {
	t := time.NewTicker(tick)
	defer t.Stop()
	last := time.Now()
	for {
		select {
		case <-s.stop:
			return
		case <-t.C:
			now := time.Now()
			s.redis.FastForward(now.Sub(last))
			last = now
			// It looks at every key that ends some time. With very many of them it is asked less often: keys may end a little late.
			t.Reset(max(tick, 50*time.Since(now)))
		}
	}
}
