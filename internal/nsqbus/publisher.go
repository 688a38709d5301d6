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

	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	publishTimeout = 2 * time.Second // of one Publish, all nodes together
	nodeTimeout    = time.Second     // of one command on one node
	maxMPUB        = 1 << 20         // bytes of one MPUB
	minSpread      = 16              // messages of one MPUB below which spreading over nodes does not pay
)

// ErrUnreachable: no nsqd is connected; nothing was published.
var ErrUnreachable = errors.New("nsqbus: no nsqd is reachable")

// errOnPurpose is what a publish says that failpoint.RingPublish lets fail.
var errOnPurpose = errors.New("nsqbus: publish lost on purpose")

// Publisher publishes bells over all known nsqds. Safe for concurrent use.
type Publisher struct {
	codec  *message.Codec
	opts   Options
	log    *slog.Logger
	dir    *Directory
	cancel context.CancelFunc
	wg     sync.WaitGroup

	generation atomic.Int64
	turn       atomic.Uint64

	mu     sync.Mutex
	nodes  map[string]*node
	ready  []*node       // connected nodes that take part; replaced, never changed
	change chan struct{} // closed and replaced when a node's state changed
}

// NewPublisher starts to connect to every nsqd of the directory and follows it. Close it before the directory.
func NewPublisher(dir *Directory, codec *message.Codec, o Options) *Publisher {
	ctx, cancel := context.WithCancel(context.Background())
	p := &Publisher{codec: codec, opts: o, log: o.logger(), dir: dir, cancel: cancel,
		nodes: map[string]*node{}, change: make(chan struct{})}
	changed, stop := dir.Subscribe()
	p.follow(ctx)
	p.wg.Go(func() {
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-changed:
				p.follow(ctx)
			}
		}
	})
	return p
}

// follow makes a node for every new address and marks those that left.
func (p *Publisher) follow(ctx context.Context) {
	addrs := p.dir.Addrs()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range p.nodes {
		n.listed = false
	}
	for _, a := range addrs {
		if n := p.nodes[a]; n != nil {
			n.listed = true
			continue
		}
		n := &node{addr: a, cfg: p.opts.config(), log: p.log, changed: p.moved, listed: true}
		p.nodes[a] = n
		p.wg.Go(func() { n.run(ctx, func() bool { return p.wanted(ctx, n) }) })
	}
	p.regroup()
}

// wanted is asked before each attempt to connect. A node that left the directory is forgotten then.
func (p *Publisher) wanted(ctx context.Context, n *node) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.listed || ctx.Err() != nil {
		return true
	}
	delete(p.nodes, n.addr)
	p.regroup()
	return false
}

// moved is called when a connection was made or lost, and when a first attempt has failed, for which callers wait.
func (p *Publisher) moved(connection bool) {
	if connection {
		p.generation.Add(1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.regroup()
}

// regroup computes the nodes that take part and wakes who waits for a change. The lock is held.
func (p *Publisher) regroup() {
	var listed, left []*node
	for _, n := range p.nodes {
		switch {
		case n.live() == nil:
		case n.listed:
			listed = append(listed, n)
		default:
			left = append(left, n)
		}
	}
	if p.ready = listed; len(listed) == 0 {
		p.ready = left
	}
	close(p.change)
	p.change = make(chan struct{})
}

// Generation grows whenever a connection to an nsqd was lost or made: what was published before may be gone.
func (p *Publisher) Generation() int64 { return p.generation.Load() }

// Reachable is nil when at least one nsqd is connected. While the first attempts are under way it waits for them, as long
// as ctx allows.
func (p *Publisher) Reachable(ctx context.Context) error {
	_, err := p.group(ctx)
	return err
}

// group gives the nodes that take part. It waits only while nothing was tried yet.
func (p *Publisher) group(ctx context.Context) ([]*node, error) {
	for {
		p.mu.Lock()
		ready, change := p.ready, p.change
		pending := len(p.nodes) == 0 && !p.polled()
		var fault error
		for _, n := range p.nodes {
			_, tried, err := n.state()
			pending = pending || !tried
			if err != nil {
				fault = fmt.Errorf("%s: %w", n.addr, err)
			}
		}
		p.mu.Unlock()
		if len(ready) > 0 {
			return ready, nil
		}
		if !pending {
			if fault != nil {
				return nil, fmt.Errorf("%w: %w", ErrUnreachable, fault)
			}
			return nil, ErrUnreachable
		}
		polled := p.dir.Polled()
		if p.polled() {
			polled = nil
		}
		select {
		case <-change:
		case <-polled:
			// The directory's news reaches follow a moment later and closes change; without news there is nothing to wait for.
			if len(p.dir.Addrs()) == 0 {
				return nil, ErrUnreachable
			}
			select {
			case <-change:
			case <-ctx.Done():
				return nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
			}
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", ErrUnreachable, context.Cause(ctx))
		}
	}
}

func (p *Publisher) polled() bool {
	select {
	case <-p.dir.Polled():
		return true
	default:
		return false
	}
}

// Close ends all connections and waits for them.
func (p *Publisher) Close() {
	p.cancel()
	p.wg.Wait()
}

// Publish signs, encodes and publishes bells of one lane, one message each. Several go as MPUBs of at most 1 MiB, spread
// over the nsqds when there are many. It takes at most 2 s. An error means that the outcome of some is unknown; a node that
// fails is passed over for another one, which may double a bell.
func (p *Publisher) Publish(ctx context.Context, lane task.Lane, rungs []task.Rung) error {
	if len(rungs) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	ready, err := p.group(ctx)
	if err != nil {
		return err
	}
	injected := failpoint.Fails(failpoint.RingPublish)
	if injected == failpoint.LostBefore {
		return errOnPurpose
	}
	topic := lane.Topic()
	parts, err := p.encode(lane, rungs, len(ready))
	if err != nil && len(parts) == 0 {
		return err
	}
	// Write all parts first, then wait: on one connection they are pipelined, on several they run side by side.
	first := int(p.turn.Add(1))
	sent := make([]pending, len(parts))
	for i, part := range parts {
		sent[i] = p.start(ready[(first+i)%len(ready)], topic, part)
	}
	for i, part := range parts {
		fault := sent[i].wait(ctx)
		for try := 1; fault != nil && try < len(ready) && ctx.Err() == nil; try++ {
			fault = p.start(ready[(first+i+try)%len(ready)], topic, part).wait(ctx)
		}
		if fault != nil {
			err = errors.Join(err, fmt.Errorf("nsqbus: publish %d to %s: %w", len(part), topic, fault))
		}
	}
	if injected == failpoint.LostAfter {
		return errOnPurpose
	}
	return err
}

// encode gives the messages in parts for one command each. A bell that cannot be encoded is left out and told.
func (p *Publisher) encode(lane task.Lane, rungs []task.Rung, nodes int) (parts [][][]byte, faults error) {
	most := max(minSpread, (len(rungs)+nodes-1)/nodes)
	var part [][]byte
	size := 4
	for i := range rungs {
		m, err := p.codec.Encode(lane, rungs[i])
		if err != nil {
			faults = errors.Join(faults, err)
			continue
		}
		if len(part) == most || size+4+len(m) > maxMPUB {
			parts = append(parts, part)
			part, size = nil, 4
		}
		part = append(part, m)
		size += 4 + len(m)
	}
	if len(part) > 0 {
		parts = append(parts, part)
	}
	return parts, faults
}

// pending is a command that was sent, or could not be.
type pending struct {
	node   *node
	link   *link
	answer <-chan error
	fault  error
}

func (p *Publisher) start(n *node, topic string, part [][]byte) pending {
	l := n.live()
	if l == nil {
		return pending{fault: fmt.Errorf("%s: %w", n.addr, errNotThere)}
	}
	cmd := nsq.Publish(topic, part[0])
	if len(part) > 1 {
		var err error
		if cmd, err = nsq.MultiPublish(topic, part); err != nil {
			return pending{fault: err}
		}
	}
	answer, err := l.send(cmd)
	return pending{node: n, link: l, answer: answer, fault: err}
}

// wait gives the command's fault. A node that does not answer in time is hung up on: its connection is made anew.
func (w pending) wait(ctx context.Context) error {
	if w.answer == nil {
		return w.fault
	}
	timer := time.NewTimer(nodeTimeout)
	defer timer.Stop()
	select {
	case err := <-w.answer:
		if err != nil {
			return fmt.Errorf("%s: %w", w.node.addr, err)
		}
		return nil
	case <-timer.C:
		w.link.hangUp()
		return fmt.Errorf("%s: no answer within %s", w.node.addr, nodeTimeout)
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", w.node.addr, context.Cause(ctx))
	}
}
