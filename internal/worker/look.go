package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/stack"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxLooks    = 64                     // questions that wait; more are left without an answer
	maxShown    = 16                     // goroutines of one attempt
	maxProgress = 4 << 10                // bytes of a progress report
	lookPause   = 50 * time.Millisecond  // between two profiles: who asks meanwhile is answered by the next
	longPause   = 400 * time.Millisecond // the longest: a question is waited for for a second
	taskLabel   = "task"                 // the pprof label of handlers: the task's id
)

// progress is what a handler last reported, and how often it did.
type progress struct {
	vars  []byte
	count int64
}

// errProgress is wrapped by what Report refuses.
var errProgress = errors.New("progress not reported")

// Report says how far the attempt is, for those who look at it while it runs: any value that encodes to at most 4 KiB of
// JSON; the last one counts. It costs no I/O, and may be called from any goroutine of the handler: it is kept in memory, from where
// the live view takes the last one now and then.
func (j Job) Report(vars any) error {
	raw, err := json.Marshal(vars)
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errProgress, err)
	case len(raw) > maxProgress:
		return fmt.Errorf("%w: %d bytes, at most %d", errProgress, len(raw), maxProgress)
	case j.run == nil:
		return nil
	}
	for {
		old := j.run.progress.Load()
		next := &progress{vars: raw, count: 1}
		if old != nil {
			next.count += old.count
		}
		if j.run.progress.CompareAndSwap(old, next) {
			if j.run.reported != nil {
				j.run.reported(raw)
			}
			j.run.news.reported()
			return nil
		}
	}
}

// lookAsked takes a question. It never blocks: it is called by who listens for cancels too.
func (e *Engine) lookAsked(s task.Signal, queue chan<- task.Signal) {
	if s.Reply == "" || len(s.Reply) > 64 {
		return
	}
	select {
	case queue <- s:
	default:
	}
}

// looking answers questions, all that wait by one profile: what that costs does not depend on how many ask.
func (e *Engine) looking() {
	for {
		var asked []task.Signal
		select {
		case s := <-e.looks:
			asked = append(asked, s)
		case <-e.ctx.Done():
			return
		}
		for more := true; more && len(asked) < maxLooks; {
			select {
			case s := <-e.looks:
				asked = append(asked, s)
			default:
				more = false
			}
		}
		began := e.mono.ns()
		e.answer(asked)
		if !e.sleep(pauseAfter(time.Duration(e.mono.ns()-began)), nil) {
			return
		}
	}
}

// pauseAfter is how long no profile is taken after one that took so long: with thousands of goroutines one takes 35 ms, and those
// who ask without end shall not have more than a tenth of a processor for it.
func pauseAfter(took time.Duration) time.Duration {
	return min(max(lookPause, 9*took), longPause)
}

// answer answers questions.
func (e *Engine) answer(asked []task.Signal) {
	ctx, cancel := context.WithTimeout(e.ctx, 2*time.Second)
	defer cancel()
	id := e.workerID()
	details := make([]task.LiveDetail, len(asked))
	var tasks []string
	for i, s := range asked {
		if details[i] = e.detail(s.TaskID, s.Epoch); !details[i].Gone {
			tasks = append(tasks, strconv.FormatInt(s.TaskID, 10))
		}
	}
	var stacks map[string][]task.Goroutine
	if len(tasks) > 0 {
		var err error
		if stacks, err = stack.Labelled(taskLabel, tasks, 2*maxShown); err != nil {
			e.log.Warn("stacks not read", "err", err)
		}
	}
	for i, s := range asked {
		if d := &details[i]; !d.Gone {
			d.Goroutines = handlers(stacks[strconv.FormatInt(s.TaskID, 10)])
			if e.find(s.TaskID, d.Epoch) == nil {
				*d = task.LiveDetail{Gone: true} // it ended meanwhile; the goroutine may run another attempt
			}
		}
		e.unreached(e.o.Live.Answer(ctx, id, s.Reply, details[i]))
	}
}

// detail is what is known of an attempt without its stacks.
func (e *Engine) detail(taskID int64, epoch int32) task.LiveDetail {
	r := e.find(taskID, epoch)
	if r == nil {
		return task.LiveDetail{Gone: true}
	}
	d := task.LiveDetail{AttemptID: r.end.AttemptID, Epoch: r.end.Epoch, Round: 1}
	if start := r.startedNs.Load(); start > 0 {
		d.ElapsedMs = (e.mono.ns() - start) / int64(time.Millisecond)
	}
	if p := r.progress.Load(); p != nil {
		d.Progress, d.Round = p.vars, 1+p.count
	}
	e.mu.Lock()
	d.Zombie = r.zombie
	e.mu.Unlock()
	return d
}

// The engine's own functions, as they are named on stacks.
var (
	callFrame = runtime.FuncForPC(reflect.ValueOf((*Engine).call).Pointer()).Name()
	loopFrame = runtime.FuncForPC(reflect.ValueOf((*Engine).loop).Pointer()).Name()
)

// handlers puts the goroutine that runs the handler before those that it started, and leaves out goroutines of the engine
// that keep the label of the last task they ran.
func handlers(gs []task.Goroutine) []task.Goroutine {
	var first, others []task.Goroutine
	for _, g := range gs {
		switch {
		case stands(g, callFrame):
			first = append(first, g)
		case !stands(g, loopFrame):
			others = append(others, g)
		}
	}
	slices.SortStableFunc(others, func(a, b task.Goroutine) int { return strings.Compare(entry(a), entry(b)) })
	out := append(first, others...)
	return out[:min(len(out), maxShown)]
}

func stands(g task.Goroutine, function string) bool {
	return slices.ContainsFunc(g.Frames, func(f task.Frame) bool { return f.Function == function })
}

// entry is where a goroutine began.
func entry(g task.Goroutine) string {
	if len(g.Frames) == 0 {
		return ""
	}
	return g.Frames[len(g.Frames)-1].Function
}
