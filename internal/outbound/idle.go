package outbound

import (
	"sync"
	"time"
)

// idle keeps connections for the next request, the last one used on top: what is not needed grows old and is closed.
type idle struct {
	mu      sync.Mutex
	hosts   map[string][]*link // oldest first
	n       int
	timer   *time.Timer // closes the old ones; nil: nothing is kept
	over    bool
	perHost int
	most    int
	keep    time.Duration
}

// take gives the connection to a host that was used last; nil: there is none.
func (s *idle) take(host string) *link {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.hosts[host]
	if len(list) == 0 {
		return nil
	}
	l := list[len(list)-1]
	list[len(list)-1] = nil
	s.hosts[host] = list[:len(list)-1]
	s.n--
	return l
}

// put keeps a connection, or closes it when enough are kept.
func (s *idle) put(l *link) {
	s.mu.Lock()
	if s.over || s.n >= s.most || len(s.hosts[l.host]) >= s.perHost {
		s.mu.Unlock()
		_ = l.Close()
		return
	}
	l.since = time.Now()
	s.hosts[l.host] = append(s.hosts[l.host], l)
	s.n++
	if s.timer == nil {
		s.timer = time.AfterFunc(s.keep, s.sweep)
	}
	s.mu.Unlock()
}

// sweep closes what was idle for too long, and comes again when the next one will have been.
func (s *idle) sweep() {
	s.mu.Lock()
	old, next := s.cull(time.Now().Add(-s.keep))
	s.timer = nil
	if !next.IsZero() && !s.over {
		s.timer = time.AfterFunc(time.Until(next.Add(s.keep))+time.Millisecond, s.sweep)
	}
	s.mu.Unlock()
	for _, l := range old {
		_ = l.Close()
	}
}

// cull takes out the connections that are idle since before limit. next is since when the oldest of the others is. mu is held.
func (s *idle) cull(limit time.Time) (old []*link, next time.Time) {
	for host, list := range s.hosts {
		k := 0
		for k < len(list) && !list[k].since.After(limit) {
			k++
		}
		old = append(old, list[:k]...)
		if list = append([]*link(nil), list[k:]...); len(list) == 0 {
			delete(s.hosts, host)
			continue
		}
		s.hosts[host] = list
		if next.IsZero() || list[0].since.Before(next) {
			next = list[0].since
		}
	}
	s.n -= len(old)
	return old, next
}

// close closes all of them, and from now on each that is put.
func (s *idle) close() {
	s.mu.Lock()
	s.over = true
	if s.timer != nil {
		s.timer.Stop()
		s.timer = nil
	}
	old, _ := s.cull(time.Now().Add(time.Hour))
	s.mu.Unlock()
	for _, l := range old {
		_ = l.Close()
	}
}
