package control

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	watchEvery   = 100 * time.Millisecond // between two looks at up to waitChunk tasks; with more of them that much less often
	maxStreams   = 2_000                  // of one process
	maxAppStream = 1_500                  // of one app in one process
)

// ErrStreamEnded is what a stream gives when the process ends: the client comes again, to another process.
var ErrStreamEnded = errors.New("the process ends")

// streams counts everybody who streams, and watches the rows of the tasks whose streams are open: one query for up to 500 of
// them, ten times a second.
type streams struct {
	store Store
	done  chan struct{} // closed when the process ends

	mu     sync.Mutex
	n      int
	byApp  map[int32]int
	rows   map[int64]*watchedRow
	runs   bool // the watcher
	closed bool
	tasks  sync.WaitGroup
	stop   context.CancelFunc
	ctx    context.Context

	peeks  int // in this second
	second time.Time
}

// watchedRow is a task that streams are open for.
type watchedRow struct {
	held     task.Held
	watchers map[chan struct{}]struct{}
}

func newStreams(store Store) *streams {
	s := &streams{store: store, done: make(chan struct{}), byApp: map[int32]int{}, rows: map[int64]*watchedRow{}}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// enter counts a stream of an app; leave is to be called at its end.
func (s *streams) enter(app int32) (leave func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return nil, task.Gone("stopping", ErrStreamEnded)
	case s.n >= maxStreams || s.byApp[app] >= maxAppStream:
		return nil, events.TooMany()
	}
	s.n++
	s.byApp[app]++
	return sync.OnceFunc(func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.n--
		if s.byApp[app]--; s.byApp[app] == 0 {
			delete(s.byApp, app)
		}
	}), nil
}

func (s *streams) close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
	s.mu.Unlock()
	s.stop()
	s.tasks.Wait()
}

// watch tells a channel, which has room for one, whenever the row of a task has changed.
func (s *streams) watch(id int64, ch chan struct{}) (end func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.rows[id]
	if r == nil {
		r = &watchedRow{watchers: map[chan struct{}]struct{}{}}
		s.rows[id] = r
	}
	r.watchers[ch] = struct{}{}
	if !s.runs && !s.closed {
		s.runs = true
		s.tasks.Go(s.watchRows)
	}
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if delete(r.watchers, ch); len(r.watchers) == 0 && s.rows[id] == r {
			delete(s.rows, id)
		}
	}
}

// watchRows looks at the rows until there are none to look at.
func (s *streams) watchRows() {
	timer := time.NewTimer(watchEvery)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		s.mu.Lock()
		ids := slices.Sorted(maps.Keys(s.rows))
		s.runs = len(ids) > 0
		s.mu.Unlock()
		if len(ids) == 0 {
			return
		}
		for chunk := range slices.Chunk(ids, waitChunk) {
			s.look(chunk)
		}
		timer.Reset(watchEvery * time.Duration(1+len(ids)/waitChunk))
	}
}

// look wakes those whose task is not what it was. While the database does not answer they go on waiting.
func (s *streams) look(ids []int64) {
	ctx, cancel := context.WithTimeout(s.ctx, waitTimeout)
	defer cancel()
	held, err := s.store.Held(ctx, ids)
	if err != nil {
		return
	}
	now := make(map[int64]task.Held, len(held))
	for _, h := range held {
		now[h.ID] = h
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range ids {
		if r := s.rows[id]; r != nil && r.held != now[id] {
			r.held = now[id]
			r.tell()
		}
	}
}

func (r *watchedRow) tell() {
	for ch := range r.watchers {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// told wakes those who watch tasks that ended in this process.
func (s *streams) told(ids []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rows) == 0 {
		return
	}
	for _, id := range ids {
		if r := s.rows[id]; r != nil {
			r.tell()
		}
	}
}

// peeksMost bounds how often a second workers are asked about running attempts for streams of this process.
const peeksMost = 50

// mayPeek reports whether a worker may be asked now.
func (s *streams) mayPeek() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.second) >= time.Second {
		s.second, s.peeks = now, 0
	}
	s.peeks++
	return s.peeks <= peeksMost
}
