package nsqbus

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"
)

// node keeps one publishing connection to one nsqd, for as long as it is wanted.
type node struct {
	addr    string
	cfg     *nsq.Config
	log     *slog.Logger
	changed func(connection bool) // called when the connection was made or lost (true), or the first attempt has failed

	mu    sync.Mutex
	link  *link
	tried bool  // at least one attempt to connect has ended
	fault error // of the last attempt

	// listed is whether the directory still has the address. One that left is used while its connection stands and no
	// listed one does: nsqlookupd forgets everybody when it restarts. Guarded by the publisher's lock.
	listed bool
}

// live gives the connection, if there is one.
func (n *node) live() *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link
}

// state gives what Reachable and waiting callers need.
func (n *node) state() (connected, tried bool, fault error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link != nil, n.tried, n.fault
}

func (n *node) set(l *link, fault error) {
	n.mu.Lock()
	was, tried := n.link != nil, n.tried
	n.link, n.fault, n.tried = l, fault, true
	n.mu.Unlock()
	if turned := was != (l != nil); turned || !tried {
		n.changed(turned)
	}
}

// run connects, and connects again, until ctx ends or wanted says that nobody needs it.
func (n *node) run(ctx context.Context, wanted func() bool) {
	retry := retryFirst
	told := false
	for ctx.Err() == nil && wanted() {
		l, err := dial(ctx, n.addr, n.cfg, n.log)
		if err != nil {
			n.set(nil, err)
			if !told {
				n.log.Warn("nsqd is not reachable, trying on", "nsqd", n.addr, "error", err)
				told = true
			}
			if !sleep(ctx, retry) {
				return
			}
			retry = min(2*retry, retryMost)
			continue
		}
		if told {
			n.log.Info("nsqd is reachable again", "nsqd", n.addr)
		}
		told = false
		made := time.Now()
		n.set(l, nil)
		select {
		case <-l.closed:
			n.set(nil, errLost)
			n.log.Info("connection to nsqd ended", "nsqd", n.addr)
			// One that ends as soon as it is made is not made again at full speed.
			if time.Since(made) > retryMost {
				retry = retryFirst
			} else if !sleep(ctx, retry) {
				return
			} else {
				retry = min(2*retry, retryMost)
			}
		case <-ctx.Done():
			l.hangUp()
			<-l.closed
			n.set(nil, errors.New("publisher closed"))
			return
		}
	}
}

// sleep waits d; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
