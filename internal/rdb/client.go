package rdb

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

const (
	opTimeout  = 500 * time.Millisecond // of one operation, dialing and waiting for a connection included
	netTimeout = 400 * time.Millisecond // of one step of it
)

// ErrGone is what every operation answers while Redis cannot be reached.
var ErrGone = errors.New("redis is gone")

// Options configure Open.
type Options struct {
	// URL is the address: redis://, rediss://, redis-sentinel://…?master=name or redis-cluster://host,host (parseURL).
	URL string
	// Logger may be nil.
	Logger *slog.Logger
}

// Client talks to Redis. It is safe for concurrent use. It implements worker.Live, control.Signals and
// scheduler.Witness.
type Client struct {
	rdb     redis.UniversalClient
	log     *slog.Logger
	breaker breaker

	reported breaker // of Reported, which has less time

	live liveViews

	nonces *Nonces

	looks chan struct{} // one for every look that waits

	eventsSince atomic.Uint64 // ms of Redis's clock: older events are not kept

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	tasks  sync.WaitGroup
}

// Open makes a client. It connects when it is first used, so that only a wrong URL is an error here.
func Open(o Options) (*Client, error) {
	opts, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	redis.SetLogger(driverLog{o.Logger})
	tune(opts)
	c := &Client{rdb: redis.NewUniversalClient(opts), log: o.Logger, looks: make(chan struct{}, maxLooks)}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	c.live.views = make(map[int64]*liveView)
	c.nonces = newNonces(c)
	return c, nil
}

// tune makes the driver fail fast and never repeat: a repeated SET NX would call a fresh nonce used.
func tune(o *redis.UniversalOptions) {
	o.Protocol = 2
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	o.MaxRetries = -1
	o.DialerRetries = 1
	o.DialTimeout, o.ReadTimeout, o.WriteTimeout, o.PoolTimeout = netTimeout, netTimeout, netTimeout, netTimeout
	o.ContextTimeoutEnabled = true
	o.PoolSize = 8
	o.ConnMaxIdleTime = 5 * time.Minute
}

// Close ends the client's goroutines and connections. What its workers showed ends by itself within 15 s.
func (c *Client) Close() error {
	c.live.mu.Lock()
	c.live.closed = true
	c.live.mu.Unlock()
	c.cancel()
	c.tasks.Wait()
	if err := c.rdb.Close(); err != nil && !errors.Is(err, redis.ErrClosed) {
		return fmt.Errorf("close redis client: %w", err)
	}
	return nil
}

// Ping asks Redis for an answer, also while the breaker is open: it is for people and health checks.
func (c *Client) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	if err := c.rdb.Ping(ctx).Err(); err != nil {
		return fmt.Errorf("%w: %w", ErrGone, err)
	}
	c.breaker.succeeded()
	return nil
}

// Version gives the server's version; "embedded" for one that does not tell.
func (c *Client) Version(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	info, err := c.rdb.Info(ctx, "server").Result()
	if replied(err) {
		return "embedded", nil
	}
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrGone, err)
	}
	for line := range strings.Lines(info) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "redis_version:"); ok {
			return v, nil
		}
	}
	return "embedded", nil
}

// Nonces is the memory of used nonces, shared by every user of the client.
func (c *Client) Nonces() *Nonces { return c.nonces }

// do runs one operation behind the breaker. The caller's own end is no sign that Redis is gone.
func (c *Client) do(ctx context.Context, what string, op func(ctx context.Context) error) error {
	if !c.breaker.allows() {
		return fmt.Errorf("%s: %w", what, ErrGone)
	}
	opCtx, cancel := context.WithTimeout(ctx, opTimeout)
	defer cancel()
	err := op(opCtx)
	switch {
	case err == nil || errors.Is(err, redis.Nil):
		c.breaker.succeeded()
		return err
	case ctx.Err() != nil:
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
	if c.breaker.failed() {
		c.log.Warn("redis is gone", "during", what, "err", err)
	}
	return fmt.Errorf("%s: %w: %w", what, ErrGone, err)
}

// replied reports whether the server answered, although with an error.
func replied(err error) bool {
	var answer redis.Error
	return errors.As(err, &answer) && !isNetwork(err)
}

func isNetwork(err error) bool {
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, io.EOF) || errors.Is(err, redis.ErrClosed) || errors.Is(err, redis.ErrPoolTimeout)
}

// driverLog takes what the driver has to say about its connections; the breaker tells people what matters of it.
type driverLog struct{ log *slog.Logger }

// Printf implements the driver's logger.
func (l driverLog) Printf(ctx context.Context, format string, v ...any) {
	if l.log.Enabled(ctx, slog.LevelDebug) {
		l.log.DebugContext(ctx, "redis driver", "text", fmt.Sprintf(format, v...))
	}
}
