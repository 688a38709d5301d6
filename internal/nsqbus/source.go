package nsqbus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Source consumes lanes from every known nsqd (worker.Source). Safe for concurrent use.
type Source struct {
	codec *message.Codec
	opts  Options
	log   *slog.Logger
	dir   *Directory

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	inlets map[*inlet]struct{}
	closed bool

	bad grumble // messages that cannot be used
}

// NewSource makes a source; nothing is connected before a lane is opened. Close it before the directory.
func NewSource(dir *Directory, codec *message.Codec, o Options) *Source {
	s := &Source{codec: codec, opts: o, log: o.logger(), dir: dir, inlets: map[*inlet]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	changed, stop := dir.Subscribe()
	s.wg.Go(func() {
		defer stop()
		for {
			select {
			case <-s.ctx.Done():
				return
			case <-changed:
				s.follow()
			}
		}
	})
	return s
}

// Open starts consuming a lane with nothing in flight and returns at once: connecting goes on behind it, for ever. It
// makes the lane's topic and channel on each nsqd. deliver is called from one goroutine per nsqd and must not block.
// An error says that the lane's name is not a topic or that the source is closed.
func (s *Source) Open(lane task.Lane, deliver func(worker.Delivery)) (worker.Inlet, error) {
	if !nsq.IsValidTopicName(lane.Topic()) {
		return nil, fmt.Errorf("nsqbus: %q is not a topic name", lane.Topic())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("nsqbus: source is closed")
	}
	ctx, cancel := context.WithCancel(s.ctx)
	in := &inlet{src: s, lane: lane, deliver: deliver, ctx: ctx, cancel: cancel, feeds: map[string]*feed{}}
	s.inlets[in] = struct{}{}
	in.follow(s.dir.Addrs())
	return in, nil
}

// follow tells every open lane the addresses.
func (s *Source) follow() {
	addrs := s.dir.Addrs()
	s.mu.Lock()
	defer s.mu.Unlock()
	for in := range s.inlets {
		in.follow(addrs)
	}
}

// Close closes every lane and waits until its connections have ended, 3 s at most.
func (s *Source) Close() {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.wg.Wait()
	}()
	patience := time.NewTimer(3 * time.Second)
	defer patience.Stop()
	select {
	case <-done:
	case <-patience.C:
	}
}

// inlet is one open lane (worker.Inlet).
type inlet struct {
	src     *Source
	lane    task.Lane
	deliver func(worker.Delivery)
	ctx     context.Context
	cancel  context.CancelFunc

	asked atomic.Int64 // last SetReady

	mu    sync.Mutex
	feeds map[string]*feed
	up    []*feed // subscribed, in the order of their coming
}

// follow makes a feed for every new address. One that left the directory goes on until its connection ends.
func (in *inlet) follow(addrs []string) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ctx.Err() != nil {
		return
	}
	for _, f := range in.feeds {
		f.listed = false
	}
	for _, a := range addrs {
		if f := in.feeds[a]; f != nil {
			f.listed = true
			continue
		}
		f := &feed{in: in, addr: a, listed: true, poke: make(chan struct{}, 1)}
		in.feeds[a] = f
		in.src.wg.Go(f.run)
	}
}

// wanted is asked before each attempt to connect. A feed that is not wanted any more is forgotten.
func (in *inlet) wanted(f *feed) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.ctx.Err() == nil && f.listed {
		return true
	}
	delete(in.feeds, f.addr)
	return false
}

// SetReady says how many messages may be in flight on all connections together; a number > 0 is raised to the number of
// connections, so that none is starved.
func (in *inlet) SetReady(n int) {
	n = max(0, n)
	if in.asked.Swap(int64(n)) == int64(n) {
		return
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	in.share()
}

// share divides the asked number among the subscribed connections. The lock is held.
func (in *inlet) share() {
	conns := int64(len(in.up))
	if conns == 0 {
		return
	}
	n := in.asked.Load()
	if n > 0 {
		n = max(n, conns)
	}
	each, rest := n/conns, n%conns
	for i, f := range in.up {
		ready := each
		if int64(i) < rest {
			ready++
		}
		f.setReady(ready)
	}
}

// join and leave are told by feeds.
func (in *inlet) join(f *feed) {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.up = append(in.up, f)
	in.share()
}

func (in *inlet) leave(f *feed) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for i := range in.up {
		if in.up[i] == f {
			in.up = append(in.up[:i:i], in.up[i+1:]...)
			break
		}
	}
	in.share()
}

// Reconnect drops all connections and makes them again. Messages not answered are handed back to the broker.
func (in *inlet) Reconnect() {
	in.mu.Lock()
	defer in.mu.Unlock()
	for _, f := range in.up {
		f.drop()
	}
}

// Close ends consumption at once: messages not answered are handed back to the broker, later answers to them do nothing.
// The connections end behind it; Source.Close waits for them.
func (in *inlet) Close() {
	in.src.mu.Lock()
	delete(in.src.inlets, in)
	in.src.mu.Unlock()
	in.cancel()
}
