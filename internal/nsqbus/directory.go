package nsqbus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	pollEvery    = 3 * time.Second
	pollNothing  = 250 * time.Millisecond // while no nsqd is known at all
	pollJitter   = 0.1
	pollTimeout  = 2 * time.Second
	maxNodesBody = 8 << 20 // nsqlookupd lists every topic of every nsqd
	missesToDrop = 2
)

// DirectoryOptions say where nsqds are found.
type DirectoryOptions struct {
	NSQD    []string      // TCP host:port, always known
	Lookupd []string      // nsqlookupd HTTP host:port (or URL), asked each Every
	Every   time.Duration // 0: 3 s
	Logger  *slog.Logger  // nil: slog.Default
}

// Directory knows the TCP addresses of all nsqds: the fixed ones and those that any nsqlookupd lists. An address that no
// nsqlookupd lists any more is dropped after two rounds in which every one of them answered or at least one did and the
// others' last answers did not have it either; while none answers, everything stays.
type Directory struct {
	fixed  []string
	every  time.Duration
	lookup []*lookupd
	client *http.Client
	log    *slog.Logger
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	misses map[string]int // found by lookup, with the rounds since it was last listed
	addrs  []string       // sorted; replaced, never changed
	subs   map[chan struct{}]struct{}
	polled chan struct{} // closed after the first round
}

// lookupd is one nsqlookupd with the last thing that it said.
type lookupd struct {
	url    string
	last   []string
	failed bool
}

// NewDirectory starts asking. It fails when an address is not of its form or when there is none.
func NewDirectory(o DirectoryOptions) (*Directory, error) {
	if len(o.NSQD) == 0 && len(o.Lookupd) == 0 {
		return nil, errors.New("nsqbus: neither nsqd nor nsqlookupd addresses")
	}
	d := &Directory{log: o.Logger, misses: map[string]int{}, subs: map[chan struct{}]struct{}{}, polled: make(chan struct{}), every: o.Every}
	if d.every <= 0 {
		d.every = pollEvery
	}
	if d.log == nil {
		d.log = slog.Default()
	}
	for _, a := range o.NSQD {
		if _, _, err := net.SplitHostPort(a); err != nil {
			return nil, fmt.Errorf("nsqbus: nsqd address %q: %w", a, err)
		}
		d.fixed = append(d.fixed, a)
	}
	for _, a := range o.Lookupd {
		u, err := nodesURL(a)
		if err != nil {
			return nil, err
		}
		d.lookup = append(d.lookup, &lookupd{url: u})
	}
	d.addrs = d.union()
	ctx, cancel := context.WithCancel(context.Background())
	d.cancel = cancel
	if len(d.lookup) == 0 {
		close(d.polled)
		return d, nil
	}
	d.client = &http.Client{Timeout: pollTimeout, Transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		MaxIdleConnsPerHost: 1,
		IdleConnTimeout:     30 * time.Second,
	}}
	d.wg.Add(1)
	go d.run(ctx)
	return d, nil
}

func nodesURL(addr string) (string, error) {
	if !strings.Contains(addr, "://") {
		addr = "http://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return "", fmt.Errorf("nsqbus: nsqlookupd address %q: want host:port or an http URL", addr)
	}
	return u.JoinPath("nodes").String(), nil
}

// Addrs lists the known nsqds, sorted. The caller must not change it.
func (d *Directory) Addrs() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.addrs
}

// Subscribe gives a channel that holds a token after Addrs changed, and what ends the subscription.
func (d *Directory) Subscribe() (changed <-chan struct{}, stop func()) {
	c := make(chan struct{}, 1)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subs[c] = struct{}{}
	return c, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		delete(d.subs, c)
	}
}

// Polled is closed once every nsqlookupd was asked for the first time, or at once when there is none.
func (d *Directory) Polled() <-chan struct{} { return d.polled }

// Close ends the asking and waits for it.
func (d *Directory) Close() {
	d.cancel()
	d.wg.Wait()
	if d.client != nil {
		d.client.CloseIdleConnections()
	}
}

func (d *Directory) run(ctx context.Context) {
	defer d.wg.Done()
	for first := true; ; first = false {
		d.poll(ctx)
		if first {
			close(d.polled)
		}
		wait := d.every
		if len(d.Addrs()) == 0 {
			wait = min(wait, pollNothing)
		}
		wait += time.Duration(rand.Float64() * pollJitter * float64(wait))
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
	}
}

// poll asks every nsqlookupd at once and takes over what they said.
func (d *Directory) poll(ctx context.Context) {
	answers := make([][]string, len(d.lookup))
	faults := make([]error, len(d.lookup))
	var wg sync.WaitGroup
	for i, l := range d.lookup {
		wg.Go(func() { answers[i], faults[i] = d.ask(ctx, l.url) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	heard := false
	listed := map[string]bool{}
	for i, l := range d.lookup {
		if faults[i] == nil {
			l.last, heard = answers[i], true
		}
		if now := faults[i] != nil; now != l.failed {
			l.failed = now
			if now {
				d.log.Warn("nsqlookupd does not answer", "url", l.url, "error", faults[i])
			} else {
				d.log.Info("nsqlookupd answers again", "url", l.url)
			}
		}
		for _, a := range l.last {
			listed[a] = true
		}
	}
	if heard {
		d.learn(listed)
	}
}

// learn counts misses, drops what missed too often, and tells subscribers when the list changed.
func (d *Directory) learn(listed map[string]bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for a := range listed {
		d.misses[a] = 0
	}
	for a := range d.misses {
		if listed[a] {
			continue
		}
		if d.misses[a]++; d.misses[a] >= missesToDrop {
			delete(d.misses, a)
		}
	}
	next := d.union()
	if slices.Equal(next, d.addrs) {
		return
	}
	d.addrs = next
	for c := range d.subs {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

// union is the sorted list of all known addresses.
func (d *Directory) union() []string {
	all := slices.Clone(d.fixed)
	for a := range d.misses {
		all = append(all, a)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// ask gets the nsqds that one nsqlookupd lists.
func (d *Directory) ask(ctx context.Context, url string) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	resp, err := d.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxNodesBody))
	if err != nil {
		return nil, err
	}
	return parseNodes(body)
}

// parseNodes reads nsqlookupd's answer. Entries without a usable address are left out.
func parseNodes(body []byte) ([]string, error) {
	var answer struct {
		Producers []struct {
			BroadcastAddress string `json:"broadcast_address"`
			TCPPort          int    `json:"tcp_port"`
		} `json:"producers"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("not an answer of nsqlookupd: %w", err)
	}
	var out []string
	for _, p := range answer.Producers {
		if p.BroadcastAddress == "" || p.TCPPort < 1 || p.TCPPort >= 1<<16 {
			continue
		}
		node := net.JoinHostPort(p.BroadcastAddress, strconv.Itoa(p.TCPPort))
		if _, _, err := net.SplitHostPort(node); err == nil { // an address with brackets in it cannot be dialled
			out = append(out, node)
		}
	}
	return out, nil
}
