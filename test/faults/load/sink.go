package load

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/test/faults/history"
)

// The headers that tell which attempt of which task calls.
const (
	headerTask    = "Taskweir-Task-Id"
	headerEpoch   = "Taskweir-Epoch"
	headerAttempt = "Taskweir-Attempt"
	headerProbe   = "Probe-Sent" // ns of the load's clock
)

// completeWithin is for how long the sink takes attempts over, in seconds.
const completeWithin = 30

// sink is the world outside.
type sink struct {
	l      *Load
	addr   string
	url    string
	server *http.Server
	ended  chan struct{}

	mu        sync.Mutex
	effects   []*history.Effect
	told      []history.Told
	lags      []history.Lag
	highest   map[int64]int // epoch, by task
	cancelled map[int64]int // epoch up to which a cancel was confirmed, by task
	odd       []string      // calls that no worker makes
}

// body is what tasks of the load send.
type body struct {
	Tag   string `json:"tag"`
	Queue string `json:"queue"`
	Slot  string `json:"slot,omitempty"`
}

func openSink(l *Load) (*sink, error) {
	addr := l.o.Sink
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	listener, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("load: open the sink: %w", err)
	}
	s := &sink{l: l, addr: listener.Addr().String(), url: l.o.SinkURL, ended: make(chan struct{}), highest: map[int64]int{}, cancelled: map[int64]int{}}
	if s.url == "" {
		s.url = "http://" + s.addr
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /http", func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "http") })
	mux.HandleFunc("POST /callback", func(w http.ResponseWriter, r *http.Request) { s.call(w, r, "callback") })
	mux.HandleFunc("POST /done", s.completion)
	mux.HandleFunc("POST /probe", s.probed)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second, IdleTimeout: 2 * time.Minute}
	go func() {
		defer close(s.ended)
		_ = s.server.Serve(listener) // until close
	}()
	return s, nil
}

// close ends the sink and every call that it still holds.
func (s *sink) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = s.server.Close()
	}
	<-s.ended
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("load: close the sink: %w", err)
	}
	return nil
}

func (s *sink) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.effects)
}

// begin notes a call and says what was known of its task before.
func (s *sink) begin(r *http.Request, kind string) *history.Effect {
	began := s.l.Now()
	e := &history.Effect{Kind: kind, Remote: r.RemoteAddr, Began: began, Ended: began}
	var errs [3]error
	e.Task, errs[0] = strconv.ParseInt(r.Header.Get(headerTask), 10, 64)
	e.Epoch, errs[1] = strconv.Atoi(r.Header.Get(headerEpoch))
	e.Attempt, errs[2] = strconv.ParseInt(r.Header.Get(headerAttempt), 10, 64)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := errors.Join(errs[:]...); err != nil {
		s.odd = append(s.odd, fmt.Sprintf("%s without its headers: %v %v", r.URL.Path, err, r.Header))
		return nil
	}
	e.Call = int64(len(s.effects) + 1)
	e.Stale = e.Epoch < s.highest[e.Task]
	until, ok := s.cancelled[e.Task]
	e.Cancelled = ok && e.Epoch <= until
	s.highest[e.Task] = max(s.highest[e.Task], e.Epoch)
	s.effects = append(s.effects, e)
	return e
}

// end notes how a call was answered; 0: the caller was gone.
func (s *sink) end(r *http.Request, e *history.Effect, tag, queue string, status int) {
	if r.Context().Err() != nil {
		status = 0
	}
	at := s.l.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e.Ended, e.Status, e.Tag, e.Queue = at, status, tag, queue
}

// confirmCancel tells the sink that a task is cancelled as of an epoch.
func (s *sink) confirmCancel(task int64, epoch int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, ok := s.cancelled[task]; !ok || epoch > was {
		s.cancelled[task] = epoch
	}
}

// call does what the plan of a task says.
func (s *sink) call(w http.ResponseWriter, r *http.Request, kind string) {
	e := s.begin(r, kind)
	if e == nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var b body
	raw, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil { // the caller broke off
		s.end(r, e, "", "", 0)
		return
	}
	if err := json.Unmarshal(raw, &b); err != nil {
		s.l.o.Log.Error("a call's body is damaged", "task", e.Task, "epoch", e.Epoch, "body", string(raw))
	}
	if s.l.o.Fence && (e.Stale || e.Cancelled) {
		w.WriteHeader(http.StatusConflict)
		s.end(r, e, b.Tag, b.Queue, http.StatusConflict)
		return
	}
	status := s.answer(w, r, e, s.l.tickets.called(b.Tag, e))
	s.end(r, e, b.Tag, b.Queue, status)
}

// answer answers by plan. t is nil for what nobody planned: slots of schedules, and what must not exist.
func (s *sink) answer(w http.ResponseWriter, r *http.Request, e *history.Effect, t *turn) (status int) {
	if t == nil {
		t = &turn{}
	}
	t.now()
	if t.hold > 0 {
		wait(r.Context(), t.hold)
	}
	if r.Context().Err() != nil {
		return 0
	}
	status = http.StatusOK
	switch {
	case t.async:
		status = http.StatusAccepted
		w.Header().Set(apiv1.HeaderCompleteWithin, strconv.Itoa(completeWithin))
	case t.fail && t.deny:
		status = http.StatusBadRequest
	case t.fail:
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"call":%d,"epoch":%d}`, e.Call, e.Epoch) // the caller may have gone
	if t.after != nil {
		t.after()
	}
	return status
}

// completion takes the news of a final state.
func (s *sink) completion(w http.ResponseWriter, r *http.Request) {
	e := s.begin(r, "completion")
	var event struct {
		Data struct {
			ID, State string
		}
	}
	err := json.NewDecoder(io.LimitReader(r.Body, 1<<20)).Decode(&event)
	id, idErr := strconv.ParseInt(event.Data.ID, 10, 64)
	if e == nil || err != nil || idErr != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	status := http.StatusNoContent
	s.mu.Lock()
	if s.l.o.Fence && e.Stale {
		status = http.StatusConflict
	} else {
		s.told = append(s.told, history.Told{Task: id, State: event.Data.State, By: e.Task, At: e.Began})
	}
	s.mu.Unlock()
	w.WriteHeader(status)
	s.end(r, e, "", "", status)
}

// probed measures how late a handler begins.
func (s *sink) probed(_ http.ResponseWriter, r *http.Request) {
	now := s.l.Now()
	sent, err := strconv.ParseInt(r.Header.Get(headerProbe), 10, 64)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lags = append(s.lags, history.Lag{At: now, Lag: now - time.Duration(sent)})
}

// seen gives what the sink has written down.
func (s *sink) seen() (effects []history.Effect, told []history.Told, lags []history.Lag, odd []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.effects {
		effects = append(effects, *e)
	}
	return effects, s.told, s.lags, s.odd
}
