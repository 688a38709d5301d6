package httpcall

import (
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
)

// GateOptions are the limits of a Gate. Zero values take the defaults named with each field.
type GateOptions struct {
	Concurrency int           // calls to one endpoint at once; 64
	Failures    int           // failures in a row that open a breaker; 10
	MinCalls    int           // calls within Window before their ratio counts; 20
	Window      time.Duration // 30 s
	OpenFor     time.Duration // how long a breaker is open the first time, doubled each time that a probe fails; 5 s
	OpenMost    time.Duration // 5 min
	Legacy      bool          // calls of surfaces count and are held back like those of kinds http and callback; false

	Metrics *metrics.Set
	Logger  *slog.Logger // nil: none
}

// What a gate waits for. Longer pauses are the task's, not the slot's.
const (
	briskly    = 500 * time.Millisecond // an endpoint that answered so lately, or was not busy before, is worth waiting for
	shortly    = 100 * time.Millisecond // calls that get room within this wait for it, however many they are
	patience   = time.Second            // longest wait for another call to the same endpoint to end
	postpone   = time.Second            // least pause of a postponed task
	postponeTo = time.Minute            // longest pause for lack of room
	probesMost = 3                      // calls of a half-open breaker at once
	probeFor   = 30 * time.Second       // when they have said nothing for so long, one more is let through
	keptMost   = 10_000                 // endpoints in memory before idle ones are forgotten
	idleFor    = 10 * time.Minute       // unused for so long, an endpoint may be forgotten
)

// Gate stands before every outgoing call of a process and knows each endpoint: an app and a scheme, host and port. It
// keeps one endpoint from taking all slots, rests those that fail, and honours a pause that an endpoint asks for. Who may not
// pass is postponed, which uses no retry and holds no slot.
//
// What it knows is this process's own: each worker learns for itself, from at most Failures calls, that an endpoint is dead.
//
// A failure is a call without a whole answer (but for addresses that the guard refuses, and calls that a cancel or a drain
// broke off), an answer 5xx, and a 429 that names no pause. Other answers, 4xx among them, say that the endpoint lives.
//
// Calls of surfaces neither count nor are held back by default, but for the number at once: their documents say when the next
// attempt comes, and an app that fails exactly so must not see it postponed.
type Gate struct {
	o     GateOptions
	mu    sync.RWMutex
	known map[endpointKey]*endpoint
}

// endpointKey names an endpoint. The port is never empty.
type endpointKey struct {
	app                int32
	scheme, host, port string
}

// NewGate makes a gate that knows no endpoint yet. One gate is for all kinds of a process.
func NewGate(o GateOptions) *Gate {
	setDefault(&o.Concurrency, 64)
	setDefault(&o.Failures, 10)
	setDefault(&o.MinCalls, 20)
	setDefault(&o.Window, 30*time.Second)
	setDefault(&o.OpenFor, 5*time.Second)
	setDefault(&o.OpenMost, 5*time.Minute)
	o.OpenMost = max(o.OpenMost, o.OpenFor)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Gate{o: o, known: map[endpointKey]*endpoint{}}
}

func setDefault[T int | time.Duration](p *T, v T) {
	if *p <= 0 {
		*p = v
	}
}

// keyOf names the endpoint of a URL. It allocates nothing for a host in lower case.
func keyOf(app int32, u *url.URL) endpointKey {
	k := endpointKey{app: app, scheme: strings.ToLower(u.Scheme), host: strings.ToLower(u.Hostname()), port: u.Port()}
	if k.port == "" {
		if k.port = "80"; k.scheme == "https" {
			k.port = "443"
		}
	}
	return k
}

// endpoint gives what is known of an endpoint.
func (g *Gate) endpoint(key endpointKey) *endpoint {
	g.mu.RLock()
	e := g.known[key]
	g.mu.RUnlock()
	if e != nil {
		return e
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if e = g.known[key]; e != nil {
		return e
	}
	if len(g.known) >= keptMost {
		g.forget()
	}
	e = &endpoint{gate: g, key: endpointKey{key.app, strings.Clone(key.scheme), strings.Clone(key.host), strings.Clone(key.port)}, start: time.Now()}
	e.used = e.start
	g.known[e.key] = e
	return e
}

// forget drops endpoints that nobody uses; all that are not in use when that is not enough. Gate.mu is held.
func (g *Gate) forget() {
	now := time.Now()
	for _, least := range []time.Duration{idleFor, 0} {
		for key, e := range g.known {
			e.mu.Lock()
			if e.running == 0 && len(e.queue) == 0 && now.Sub(e.used) >= least {
				e.become(closed)
				delete(g.known, key)
			}
			e.mu.Unlock()
		}
		if len(g.known) < keptMost {
			return
		}
	}
}
