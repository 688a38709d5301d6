// Package record is what runs have in common that hurt something else than the standard cluster: what was done when, which
// processes there were, and in the end the same outcome, checked by the same checker, as every other run.
package record

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/taskweir/taskweir/test/faults/faults"
	"github.com/taskweir/taskweir/test/faults/history"
	"github.com/taskweir/taskweir/test/faults/run"
)

// Recorder writes a run down. It may be used from several goroutines.
type Recorder struct {
	Began time.Time // origin of all times of the run

	mu    sync.Mutex
	log   io.Writer
	out   run.Outcome
	lives []*history.Process
}

// New begins a run. log gets a line for each fault and everything that is wrong.
func New(name string, log io.Writer) *Recorder {
	return &Recorder{Began: time.Now(), log: log, out: run.Outcome{Name: name, Pace: faults.Default}}
}

// Now is the time of the run.
func (r *Recorder) Now() time.Duration { return time.Since(r.Began) }

// Fault notes what was done, as a line of docs/faults.md (f.Kind) and of the README (group).
func (r *Recorder) Fault(group string, f history.Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f.N = len(r.out.Results) + 1
	r.out.Results = append(r.out.Results, &faults.Result{Injection: faults.Injection{Kind: f.Kind, Targets: f.Targets}, Group: group, Times: 1,
		Began: f.Injected, Ended: f.Ended, Recovered: f.Recovered, Fault: f})
	fmt.Fprintf(r.log, "%s %8v  %s, recovered %v after its end\n", r.out.Name, f.Injected.Round(time.Millisecond), f.Kind, f.Recovered.Round(time.Millisecond))
	if f.Recovered > run.RecoverWithin {
		r.broken("%s at %v: recovered only after %v", f.Kind, f.Injected, f.Recovered)
	}
}

// Faults is how many were noted.
func (r *Recorder) Faults() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.out.Results)
}

// Broken notes something that must not be.
func (r *Recorder) Broken(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.broken(format, args...)
}

func (r *Recorder) broken(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	r.out.Broken = append(r.out.Broken, text)
	fmt.Fprintf(r.log, "%s WRONG: %s\n", r.out.Name, text)
}

// Life notes the start of a process of Taskweir, and gives what to call when it has ended.
func (r *Recorder) Life(name, role string, pid int, started time.Duration) (ended func()) {
	p := &history.Process{Name: name, Role: role, PID: pid, Started: started}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lives = append(r.lives, p)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		p.Ended = r.Now()
	}
}

// Finish checks the history (nil: there is none) and reads the logs. failed is why the run could not go on; nil: it went to its end.
// When anything is wrong, everything is kept in a folder of evidence ("": nowhere).
func (r *Recorder) Finish(h *history.History, failed error, logs []string, evidence string) *run.Outcome {
	r.mu.Lock()
	defer r.mu.Unlock()
	if failed != nil {
		r.broken("the run was not finished: %v", failed)
	}
	for _, line := range run.Alarms(logs) {
		r.broken("%s", line)
	}
	if h != nil {
		for _, res := range r.out.Results {
			h.Faults = append(h.Faults, res.Fault)
		}
		for _, p := range r.lives {
			h.Processes = append(h.Processes, *p)
		}
		r.out.Report = history.Check(h)
	}
	r.out.Took = r.Now()
	if !r.out.OK() && evidence != "" {
		if err := r.keep(filepath.Join(evidence, r.out.Name), h, logs); err != nil {
			r.broken("the evidence could not be kept: %v", err)
		}
	}
	return &r.out
}

// keep writes what is needed to understand what went wrong.
func (r *Recorder) keep(dir string, h *history.History, logs []string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, path := range logs {
		raw, err := os.ReadFile(path)
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, filepath.Base(path)), raw, 0o644)
		}
		if err != nil {
			return err
		}
	}
	text := strings.Join(r.out.Broken, "\n") + "\n"
	if r.out.Report != nil {
		text += r.out.Report.Summary(1000)
	}
	raw, err := json.Marshal(h)
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "history.json"), raw, 0o644)
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "broken.txt"), []byte(text), 0o644)
	}
	fmt.Fprintf(r.log, "%s evidence: %s\n", r.out.Name, dir)
	return err
}
