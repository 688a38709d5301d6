package worker

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	engine "github.com/taskweir/taskweir/internal/worker"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// Attempt is one execution of a task: what is known of it, and what its handler says of itself. Its methods may be called from
// any goroutine; what is said after the handler has returned is dropped.
type Attempt struct {
	job engine.Job
	out *slog.Logger // the process's own log; nil: none

	mu     sync.Mutex
	result []byte
	log    *attemptLog
	logger *slog.Logger
}

// TaskID is the task's id, the same for all its attempts.
func (a *Attempt) TaskID() apiv1.ID { return apiv1.ID(a.job.TaskID) }

// ID is the id of this attempt, as in attempts of the task.
func (a *Attempt) ID() apiv1.ID { return apiv1.ID(a.job.AttemptID) }

// Epoch counts the executions of the task: 1, 2, … A higher one is newer, always.
func (a *Attempt) Epoch() int { return int(a.job.Epoch) }

// Retry counts the failures so far: 0 in the first run. Snoozes, drains and lost workers do not count.
func (a *Attempt) Retry() int { return a.job.Retry }

// Kind is the task's kind.
func (a *Attempt) Kind() string { return a.job.Kind }

// Queue is the queue that the task came from.
func (a *Attempt) Queue() string { return a.job.Queue }

// CreatedAt is when the task was submitted, by the database's clock.
func (a *Attempt) CreatedAt() time.Time { return time.UnixMilli(a.job.CreatedAt).UTC() }

// DueAt is when this attempt was due, by the database's clock.
func (a *Attempt) DueAt() time.Time { return time.UnixMilli(a.job.DueAt).UTC() }

// Timeout is how long the handler may run, from its start; 0: for ever.
func (a *Attempt) Timeout() time.Duration {
	return max(0, time.Duration(a.job.TimeoutMs)*time.Millisecond)
}

// RawPayload is the payload byte for byte as it was submitted. It must not be changed.
func (a *Attempt) RawPayload() json.RawMessage { return a.job.Payload }

// Progress says how far the handler is, for those who look at the task while it runs: any value that encodes to at most 4 KiB
// of JSON; the last one counts. It costs no I/O and may be said as often as one likes: those who look see the last one, at most
// about half a second old. Nothing of it is stored, or left when the attempt has ended.
func (a *Attempt) Progress(v any) error {
	if err := a.job.Report(v); err != nil {
		return fmt.Errorf("worker: %w", err)
	}
	return nil
}

// SetResult sets what the task gives when the handler succeeds, in place of what was set before: any value that encodes to at
// most 64 KiB of JSON. A json.RawMessage that is valid is kept byte for byte.
func (a *Attempt) SetResult(v any) error {
	raw, err := encodeResult(v)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.result = raw
	return nil
}

func encodeResult(v any) ([]byte, error) {
	raw, isRaw := v.(json.RawMessage)
	if !isRaw || !json.Valid(raw) {
		var err error
		if raw, err = json.Marshal(v); err != nil {
			return nil, Code("invalid_result", fmt.Errorf("the result does not encode: %w", err))
		}
	}
	if len(raw) > task.MaxResult {
		return nil, Code("result_too_large", fmt.Errorf("the result has %d bytes, at most %d are kept", len(raw), task.MaxResult))
	}
	return raw, nil
}

// Fence sets the headers by which a receiver tells executions of the task apart, the same as those of tasks of kind http:
// Taskweir-Task-Id, Taskweir-Epoch, Taskweir-Attempt and, unless there is one, Idempotency-Key. The receiver remembers the
// highest epoch of each task and refuses lower ones (docs/receivers.md).
func (a *Attempt) Fence(h http.Header) {
	id := a.TaskID().String()
	h.Set("Taskweir-Task-Id", id)
	h.Set("Taskweir-Epoch", strconv.Itoa(a.Epoch()))
	h.Set("Taskweir-Attempt", a.ID().String())
	if h.Get("Idempotency-Key") == "" {
		h.Set("Idempotency-Key", id)
	}
}

// Logger writes to the attempt's log, which is shown as it comes to those who follow it, and kept with the task: its last 64 KiB,
// one line a record, from level Debug. Records also go to the worker's own log, with the task's id, epoch and kind. Times are the
// database's.
func (a *Attempt) Logger() *slog.Logger {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.logger == nil {
		a.log = &attemptLog{write: a.job.Output}
		a.logger = slog.New(newLogHandler(a))
	}
	return a.logger
}

// end closes the attempt and gives its result; nil when there is none.
func (a *Attempt) end() []byte {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log != nil {
		a.log.close()
	}
	return a.result
}
