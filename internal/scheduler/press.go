package scheduler

import (
	"context"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	pressWorkers = 4
	jobTasks     = 1000 // most tasks of one job
	jobBells     = 64   // most bells of one job
)

// press publishes jobs: it reads the payloads that are not at hand and puts the messages on the lane's topic. Its queue
// is bounded by the lanes' windows. Every job ends in one result in the inbox, within the publish and query timeouts.
type press struct {
	s    *Scheduler
	work chan struct{}

	mu   sync.Mutex
	jobs []job
}

// job is a batch of bells of one lane that are published together.
type job struct {
	lane    task.Lane
	rungs   []task.Rung
	loaded  bool // the items are there
	rerung  bool // published before
	delayed bool // from the look-ahead: lateness counts for all of them
}

func newPress(s *Scheduler) *press { return &press{s: s, work: make(chan struct{}, pressWorkers)} }

// add queues a job. It never blocks.
func (p *press) add(j job) {
	p.mu.Lock()
	p.jobs = append(p.jobs, j)
	p.mu.Unlock()
	select {
	case p.work <- struct{}{}:
	default:
	}
}

func (p *press) next() (job, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.jobs) == 0 {
		return job{}, false
	}
	j := p.jobs[0]
	p.jobs[0] = job{}
	p.jobs = p.jobs[1:]
	return j, true
}

func (p *press) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range pressWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-p.work:
				}
				for j, ok := p.next(); ok && ctx.Err() == nil; j, ok = p.next() {
					p.print(ctx, j)
				}
			}
		})
	}
	wg.Wait()
}

// print does one job.
func (p *press) print(ctx context.Context, j job) {
	res := pressed{lane: keyOf(j.rungs[0].Bell), ids: make([]int64, len(j.rungs))}
	for i, r := range j.rungs {
		res.ids[i] = r.ID
	}
	res.gen = p.s.o.Publisher.Generation()
	if res.err = p.load(ctx, &j); res.err == nil {
		res.parked = p.park(ctx, &j)
	}
	if res.err == nil && len(j.rungs) > 0 {
		pctx, cancel := context.WithTimeout(ctx, p.s.o.Intervals.Publish)
		res.err = p.s.o.Publisher.Publish(pctx, j.lane, j.rungs)
		cancel()
	}
	if res.err == nil {
		p.count(j)
	}
	p.s.inbox.put(func(i *inbox) { i.results = append(i.results, res) })
}

// park takes out the bells that no worker can take anything of.
func (p *press) park(ctx context.Context, j *job) (out map[int64]string) {
	runs := p.s.view.runs(ctx, j.lane.Queue)
	if runs == nil {
		return nil
	}
	kept := j.rungs[:0:0]
	for i, r := range j.rungs {
		kind, none := runs.none(r.Items)
		switch {
		case none:
			if out == nil {
				out = make(map[int64]string)
				kept = append(kept, j.rungs[:i]...)
			}
			out[r.ID] = kind
		case out != nil:
			kept = append(kept, r)
		}
	}
	if out != nil {
		j.rungs = kept
	}
	return out
}

// load reads what the messages need of the tasks. Tasks that do not wait any more are left out of the items; a bell none
// of whose tasks waits is published all the same, so that a claim finds it empty and removes it.
func (p *press) load(ctx context.Context, j *job) error {
	if j.loaded {
		return nil
	}
	bells := make([]task.Bell, len(j.rungs))
	for i, r := range j.rungs {
		bells[i] = r.Bell
	}
	ctx, cancel := p.s.query(ctx)
	defer cancel()
	rungs, err := p.s.o.Store.Rungs(ctx, bells)
	if err != nil {
		return err
	}
	j.rungs = rungs
	return nil
}

// count records how late bells of delayed tasks were.
func (p *press) count(j job) {
	if j.rerung {
		p.s.o.Metrics.Rerung(len(j.rungs))
		return
	}
	now := p.s.o.Clock.NowMicros()
	for _, r := range j.rungs {
		if j.delayed || len(r.Items) > 0 && r.Items[0].CreatedAt+1000 < r.DueAt && r.Epoch == 0 {
			p.s.o.Metrics.Lateness(time.Duration(now-r.DueAt*1000) * time.Microsecond)
		}
	}
}

// pack cuts bells of one lane into jobs.
func pack(rungs []task.Rung, add func(rungs []task.Rung)) {
	for len(rungs) > 0 {
		k, tasks := 0, 0
		for k < len(rungs) && k < jobBells && (k == 0 || tasks+len(rungs[k].TaskIDs) <= jobTasks) {
			tasks += len(rungs[k].TaskIDs)
			k++
		}
		add(rungs[:k:k])
		rungs = rungs[k:]
	}
}
