package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// view is what is known of lanes, apps and workers, re-read by goroutines of its own. Readers take a snapshot.
type view struct {
	s       *Scheduler
	lanes   atomic.Pointer[lanesView]
	workers atomic.Pointer[workersView]

	kinds struct {
		sync.Mutex
		names map[int32]string
		at    time.Time // of the last reading
	}

	watch   deathWatch
	rates   doneRates
	witness time.Time // when SawDatabase was last said
}

// lanesView is one reading of lanes and apps.
type lanesView struct {
	at    time.Time
	lanes map[int32]task.Lane
	apps  map[int32]task.App
}

// workersView is one reading of workers.
type workersView struct {
	alive []task.Worker
	rate  map[int32]float64 // attempts ended per second, by lane
	runMs map[int32]float64 // mean run time, by lane
	busy  map[int32]float64

	crew string   // who is alive: what any of them runs does not change while it lives
	sets sync.Map // queue to *kindSet
}

func newView(s *Scheduler) *view {
	v := &view{s: s, watch: deathWatch{after: s.o.Intervals.DeadAfter}}
	v.lanes.Store(&lanesView{})
	v.workers.Store(&workersView{})
	return v
}

// slots counts the slots of workers that take tasks of a queue.
func (v *workersView) slots(queue string) (n int) {
	for _, w := range v.serving(queue) {
		n += w.Info.Slots
	}
	return n
}

// slotsOfOne is how many slots the smallest of them has; 0: nobody serves the queue.
func (v *workersView) slotsOfOne(queue string) (n int) {
	for _, w := range v.serving(queue) {
		if n == 0 || w.Info.Slots < n {
			n = w.Info.Slots
		}
	}
	return n
}

// shellSlots counts those of them that run commands.
func (v *workersView) shellSlots(queue string) (n int) {
	for _, w := range v.serving(queue) {
		n += w.Info.ShellSlots
	}
	return n
}

// free counts the slots of workers that serve a queue and were free at their last beats, and gives the last of these beats.
func (v *workersView) free(queue string) (n int, beatAt int64) {
	for _, w := range v.serving(queue) {
		if free := w.Info.Slots - w.Info.Busy; free > 0 {
			n, beatAt = n+free, max(beatAt, w.BeatAt)
		}
	}
	return n, beatAt
}

// serving lists the live workers that take tasks of a queue.
func (v *workersView) serving(queue string) (out []*task.Worker) {
	for i := range v.alive {
		if w := &v.alive[i]; serves(w, queue) {
			out = append(out, w)
		}
	}
	return out
}

// serves reports whether a worker takes tasks of a queue.
func serves(w *task.Worker, queue string) bool {
	return len(w.Info.Queues) == 0 || slices.Contains(w.Info.Queues, queue)
}

func (v *view) runLanes(ctx context.Context) {
	v.s.every(ctx, "read lanes", v.s.o.Intervals.Lanes, func(ctx context.Context) (time.Duration, error) {
		wait := v.s.o.Intervals.Lanes
		if !v.s.loop.busy.Load() && v.s.ahead.empty() {
			wait *= idleFactor // whoever finds work reads them again first (refreshLanes)
		}
		return wait, v.readLanes(ctx)
	})
}

// idleFactor is how much more rarely lanes are read while there is nothing to ring.
const idleFactor = 4

// refreshLanes reads lanes and apps again if what is known is older than it is while there is work: nothing is rung by a
// reading from before a pause.
func (v *view) refreshLanes(ctx context.Context) error {
	if time.Since(v.lanes.Load().at) <= v.s.o.Intervals.Lanes {
		return nil
	}
	return v.readLanes(ctx)
}

func (v *view) readLanes(ctx context.Context) error {
	ctx, cancel := v.s.query(ctx)
	defer cancel()
	begin := time.Now()
	lanes, err := v.s.o.Store.Lanes(ctx)
	if err != nil {
		return err
	}
	apps, err := v.s.o.Store.Apps(ctx)
	if err != nil {
		return err
	}
	if err := v.s.limits.hear(ctx); err != nil {
		return err
	}
	next := &lanesView{at: begin, lanes: make(map[int32]task.Lane, len(lanes)), apps: make(map[int32]task.App, len(apps))}
	for _, l := range lanes {
		next.lanes[l.ID] = l
	}
	for _, a := range apps {
		a.Paused = a.Paused || a.Disabled
		next.apps[a.ID] = a
	}
	v.lanes.Store(next)
	return nil
}

func (v *view) runWorkers(ctx context.Context) {
	v.s.every(ctx, "watch workers", v.s.o.Intervals.Workers, func(ctx context.Context) (time.Duration, error) {
		return 0, v.pollWorkers(ctx)
	})
}

// pollWorkers reads the workers once, bears witness, and declares the dead gone.
func (v *view) pollWorkers(ctx context.Context) error {
	qctx, cancel := v.s.query(ctx)
	defer cancel()
	workers, err := v.s.o.Store.Workers(qctx, false)
	if err != nil {
		v.watch.failed()
		return err
	}
	now := time.Now()
	v.s.sawDatabase()
	v.bearWitness(ctx, now)
	dead := v.watch.observe(now, workers)
	was := v.workers.Load().alive
	v.workers.Store(v.rates.observe(workers))
	workers, err = v.declare(qctx, workers, dead)
	if gone := deserters(was, workers); len(gone) > 0 {
		v.workers.Store(v.rates.observe(workers))
		v.s.inbox.put(func(i *inbox) { i.gone = append(i.gone, gone...) })
	}
	return err
}

// declare sets the dead to gone and gives the workers that are left.
func (v *view) declare(ctx context.Context, workers, dead []task.Worker) ([]task.Worker, error) {
	for _, w := range dead {
		gone, err := v.s.o.Store.DeclareGone(ctx, w.ID, w.BeatAt)
		if err != nil {
			return workers, err
		}
		if gone {
			v.s.o.Logger.Warn("worker is dead: the same beat all the time", "worker", w.ID, "host", w.Info.Host, "watched", v.watch.after)
			workers = slices.DeleteFunc(workers, func(o task.Worker) bool { return o.ID == w.ID })
		}
	}
	return workers, nil
}

// bearWitness tells workers, once a second, that a scheduler reaches the database. Without Redis nobody hears it.
func (v *view) bearWitness(ctx context.Context, now time.Time) {
	if v.s.o.Witness == nil || now.Sub(v.witness) < time.Second-time.Second/10 {
		return
	}
	v.witness = now
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	if err := v.s.o.Witness.SawDatabase(ctx); err != nil {
		v.s.o.Logger.Debug("nobody hears that the database is reached", "err", err)
	}
}

// doneRates turns what workers count since their start into rates.
type doneRates struct {
	seen map[doneKey]done
}

type doneKey struct {
	worker int64
	lane   int32
}

type done struct {
	beatAt int64
	count  int64
	rate   float64
}

// observe makes a view of one reading. A rate is the growth between two beats of one worker.
func (r *doneRates) observe(workers []task.Worker) *workersView {
	out := &workersView{rate: map[int32]float64{}, runMs: map[int32]float64{}, busy: map[int32]float64{}}
	next := make(map[doneKey]done)
	weight := map[int32]float64{}
	var crew []int64
	for _, w := range workers {
		if w.State != task.WorkerAlive {
			continue
		}
		out.alive = append(out.alive, w)
		crew = append(crew, w.ID)
		for _, l := range w.Info.Loads {
			d := r.advance(doneKey{w.ID, l.LaneID}, w.BeatAt, l.Done)
			next[doneKey{w.ID, l.LaneID}] = d
			out.rate[l.LaneID] += d.rate
			share := d.rate + 1e-3
			out.runMs[l.LaneID] += l.RunMs * share
			weight[l.LaneID] += share
			out.busy[l.LaneID] += d.rate * l.RunMs / 1000
		}
	}
	for lane, sum := range weight {
		out.runMs[lane] /= sum
	}
	r.seen = next
	slices.Sort(crew)
	out.crew = fmt.Sprint(crew)
	return out
}

func (r *doneRates) advance(k doneKey, beatAt, count int64) done {
	was, known := r.seen[k]
	switch {
	case !known:
		return done{beatAt: beatAt, count: count}
	case beatAt <= was.beatAt:
		return was
	}
	return done{beatAt, count, float64(max(0, count-was.count)) * 1000 / float64(beatAt-was.beatAt)}
}
