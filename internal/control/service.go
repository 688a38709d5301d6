package control

import (
	"context"
	"log/slog"
	"slices"

	"github.com/taskweir/taskweir/internal/flush"
	"github.com/taskweir/taskweir/internal/task"
)

// Secrets seals what must be read back later, such as an app's signing secret.
type Secrets interface {
	Seal(plain []byte) ([]byte, error)
	Open(sealed []byte) ([]byte, error)
}

// Options are what a Service is made of.
type Options struct {
	Store  Store  // required
	Ringer Ringer // required
	Clock  Clock  // required: the database's clock
	// Signals is the way to workers and the live view. nil: there is none, workers hear of everything at their next beat.
	Signals Signals
	// Checks names the built-in kinds and how the payload of each is checked at submit (nil: anything goes). The fields of
	// what they answer are paths within the payload.
	Checks map[string]func(payload []byte) []task.FieldError
	// Secrets seals signing secrets. Required for making apps, and for apps that sign.
	Secrets Secrets
	// OpenRegistration lets everybody make apps through the legacy surfaces: nobody but this machine can reach the process.
	OpenRegistration bool
	// BrokerReachable reports whether bells can be published, for verdicts. nil: always.
	BrokerReachable func() bool
	Logger          *slog.Logger // nil: slog.Default
	// Events is the whole stream of events; Tickets keeps what browsers listen with. nil: they are answered live_view_unavailable.
	Events  Broadcast
	Tickets TicketStore
	Tracer  Tracer // nil: submits are not traced
}

// Service is the use cases. Its methods may be called at once from many goroutines. Errors are *task.Error wherever a
// client can do something about them; anything else is an internal fault.
type Service struct {
	store     Store
	schedules ScheduleStore
	ringer    Ringer
	clock     Clock
	signals   Signals
	checks    map[string]func([]byte) []task.FieldError
	secrets   Secrets
	broker    func() bool
	log       *slog.Logger

	openRegistration bool

	kinds   kindTable
	lanes   laneTable
	creds   credentials
	workers workerTable
	tracer  Tracer
	flusher *flush.Flusher[*pending]
	waiting *waiters

	streams   *streams
	broadcast Broadcast
	tickets   TicketStore
}

// New makes a service and starts its flusher and its poller; it does no I/O. Close ends them.
func New(o Options) *Service {
	s := &Service{store: o.Store, schedules: o.Store, ringer: o.Ringer, clock: o.Clock, signals: o.Signals, checks: o.Checks,
		secrets: o.Secrets, broker: o.BrokerReachable, log: o.Logger, tracer: o.Tracer, openRegistration: o.OpenRegistration}
	if s.log == nil {
		s.log = slog.Default()
	}
	s.kinds.store, s.lanes.store, s.workers.store = o.Store, o.Store, o.Store
	for name := range o.Checks {
		s.kinds.builtins = append(s.kinds.builtins, name)
	}
	slices.Sort(s.kinds.builtins)
	c := &committer{store: o.Store, ringer: o.Ringer, log: s.log}
	s.flusher = flush.New(flush.Options[*pending]{Flush: c.flush, Size: (*pending).size})
	s.waiting = newWaiters(o.Store)
	s.streams, s.broadcast, s.tickets = newStreams(o.Store), o.Events, o.Tickets
	return s
}

// StopWaiting answers everybody who waits for a task with the task as it is, and those who come later too, and ends every
// stream: call it before an HTTP server shuts down, which otherwise lasts as long as the longest wait.
func (s *Service) StopWaiting() {
	s.waiting.close()
	if s.broadcast != nil {
		s.broadcast.Close()
	}
	s.streams.close()
}

// Close refuses further submits, waits until what was accepted is answered, and wakes everybody who waits. When ctx ends
// first, what is being stored is cut short.
func (s *Service) Close(ctx context.Context) error {
	s.StopWaiting()
	return s.flusher.Close(ctx)
}

// Finished tells the service that tasks ended in this process, so that those who wait for them need not poll.
func (s *Service) Finished(ids []int64) {
	s.waiting.finished(ids)
	s.streams.told(ids)
}

// Ping reports whether the database answers, for readiness.
func (s *Service) Ping(ctx context.Context) error { return s.store.Ping(ctx) }
