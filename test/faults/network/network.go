// Package network stands between the processes of a cluster: every pair of a process and a server that it talks to has a
// toxiproxy of its own, so that one connection between two of them can be hurt while all others are well.
//
// toxiproxy is used as a library, in the harness's own process, and only its stock toxics: what is done to a connection is
// what toxiproxy's documentation says. A link has four troubles, and each ends by Heal:
//
//   - Delay: every chunk of bytes arrives later, in both directions.
//   - Cut: connections are closed and new ones are refused.
//   - Silence: half-open. Connections stay, new ones are accepted, and nothing arrives in the directions that are silent. What was
//     sent meanwhile is gone for good, so healing closes these connections, as a peer that had rebooted would.
//   - SlowClose: when one side closes, the other hears of it late.
//
// # Why a link is never changed while a change is stuck
//
// A toxic is added to a connection by interrupting what copies its bytes. toxiproxy waits for that without a limit. Every
// change here has one, and reports ErrStuck: a run must fail loudly rather than go on without a fault that it reports.
package network

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"

	"github.com/taskweir/taskweir/internal/testkit"
)

// changeWithin bounds every change of a link.
const changeWithin = 15 * time.Second

// ErrStuck says that toxiproxy did not come back from a change of a link.
var ErrStuck = errors.New("toxiproxy is stuck")

// Network is all links of one cluster.
type Network struct {
	server *toxiproxy.ApiServer

	mu    sync.Mutex
	links []*Link
}

// New makes a network without links.
func New() *Network {
	return &Network{server: toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())}
}

// Connect makes the link over which from reaches to at the address upstream. It listens on a free port of loopback.
func (n *Network) Connect(from, to, upstream string) (*Link, error) {
	var failed error
	for range 5 { // the port was free when it was asked for
		port, err := testkit.FreePort()
		if err != nil {
			return nil, err
		}
		l := &Link{From: from, To: to, proxy: toxiproxy.NewProxy(n.server, from+" "+to, testkit.Loopback(port), upstream)}
		if failed = l.proxy.Start(); failed != nil {
			continue
		}
		l.addr = l.proxy.Listen
		n.mu.Lock()
		n.links = append(n.links, l)
		n.mu.Unlock()
		return l, nil
	}
	return nil, fmt.Errorf("connect %s to %s: %w", from, to, failed)
}

// Links lists all links in the order in which they were made.
func (n *Network) Links() []*Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return append([]*Link(nil), n.links...)
}

// Find gives the link of that name, nil when there is none.
func (n *Network) Find(name string) *Link {
	for _, l := range n.Links() {
		if l.Name() == name {
			return l
		}
	}
	return nil
}

// Close cuts every link.
func (n *Network) Close() error {
	var errs []error
	for _, l := range n.Links() {
		errs = append(errs, l.Cut(context.Background()))
	}
	return errors.Join(errs...)
}

// Link is the way from one process to another.
type Link struct {
	From, To string

	mu     sync.Mutex // one change at a time
	proxy  *toxiproxy.Proxy
	addr   string
	toxics []string // names of those that are on
}

// Arrow stands between the two ends of a link's name.
const Arrow = "→"

// Name is from→to.
func (l *Link) Name() string { return l.From + Arrow + l.To }

// Addr is where From finds To.
func (l *Link) Addr() string { return l.addr }

// Direction says which way of a link is meant.
type Direction string

// The ways of a link.
const (
	Both    Direction = "both"
	Forth   Direction = "forth"   // what From sends
	Answers Direction = "answers" // what To sends
)

// Directions lists them.
func Directions() []Direction { return []Direction{Both, Forth, Answers} }

func (d Direction) streams() []string {
	switch d {
	case Forth:
		return []string{"upstream"}
	case Answers:
		return []string{"downstream"}
	default:
		return []string{"upstream", "downstream"}
	}
}

// Delay lets everything arrive later by about by, with a quarter of it as jitter.
func (l *Link) Delay(ctx context.Context, by time.Duration) error {
	return l.add(ctx, "latency", Both, map[string]int64{"latency": by.Milliseconds(), "jitter": by.Milliseconds() / 4})
}

// Silence lets nothing arrive any more, while every connection stays open.
func (l *Link) Silence(ctx context.Context, d Direction) error {
	return l.add(ctx, "timeout", d, map[string]int64{"timeout": 0})
}

// SlowClose lets one side hear of the other's close only after by.
func (l *Link) SlowClose(ctx context.Context, by time.Duration) error {
	return l.add(ctx, "slow_close", Both, map[string]int64{"delay": by.Milliseconds()})
}

// Cut closes every connection and refuses new ones.
func (l *Link) Cut(ctx context.Context) error {
	return l.change(ctx, "cut", func() error { l.proxy.Stop(); return nil })
}

// Heal ends every trouble of the link.
func (l *Link) Heal(ctx context.Context) error {
	return l.change(ctx, "heal", func() error {
		for _, name := range l.toxics {
			if err := l.proxy.Toxics.RemoveToxic(ctx, name); err != nil {
				return fmt.Errorf("remove %s: %w", name, err)
			}
		}
		l.toxics = nil
		if l.proxy.Enabled {
			return nil
		}
		return l.listen(ctx)
	})
}

// listen takes the link's port again. Somebody may have it for a moment who looked for a free one.
func (l *Link) listen(ctx context.Context) error {
	for {
		err := l.proxy.Start()
		if err == nil || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func (l *Link) add(ctx context.Context, toxic string, d Direction, attributes map[string]int64) error {
	return l.change(ctx, toxic, func() error {
		for _, stream := range d.streams() {
			name := toxic + " " + stream
			text, err := json.Marshal(map[string]any{"name": name, "type": toxic, "stream": stream, "toxicity": 1, "attributes": attributes})
			if err != nil {
				return err
			}
			if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(string(text))); err != nil {
				return err
			}
			l.toxics = append(l.toxics, name)
		}
		return nil
	})
}

// change does one thing to the link and waits for it, though not for ever.
func (l *Link) change(ctx context.Context, what string, do func() error) error {
	ctx, cancel := context.WithTimeout(ctx, changeWithin)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		done <- do()
	}()
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s %s: %w", what, l.Name(), err)
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s %s: %w", what, l.Name(), ErrStuck)
	}
}
