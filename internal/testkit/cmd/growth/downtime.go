package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/procstat"
	"github.com/taskweir/taskweir/internal/testkit"
)

// fleet is one api, one scheduler and one worker, each a process, on a database.
type fleet struct {
	k       *kit
	d       *database
	list    []*testkit.Process
	baseURL string
	cost    float64 // CPU per 1,000 tasks of the last drain, ms
}

// cpu is the processor time that the fleet and its servers have used.
func (f *fleet) cpu() (total time.Duration) {
	for _, p := range append([]*testkit.Process{f.k.servers.MariaDB.Process, f.k.servers.Redis.Process, f.k.servers.NSQD[0].Process}, f.list...) {
		if used, err := procstat.CPU(p.PID()); err == nil { // where it is not known the figure is 0
			total += used
		}
	}
	return total
}

// start starts all at once.
func (k *kit) start(ctx context.Context, d *database) (*fleet, error) {
	f := &fleet{k: k, d: d}
	names := []string{"api", "scheduler", "worker"}
	got, urls, errs := make([]*testkit.Process, len(names)), make([]string, len(names)), make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() {
			got[i], urls[i], errs[i] = k.role(ctx, d, name, "TASKWEIR_RETENTION_SUCCEEDED="+forever, "TASKWEIR_RETENTION_FAILED="+forever)
		})
	}
	wg.Wait()
	f.baseURL = urls[0]
	for _, p := range got {
		if p != nil {
			f.list = append(f.list, p)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, errors.Join(err, f.stop(ctx))
	}
	return f, nil
}

// stop drains them, the worker first.
func (f *fleet) stop(ctx context.Context) error {
	var failed error
	for _, p := range slices.Backward(f.list) {
		failed = errors.Join(failed, p.Stop(context.WithoutCancel(ctx)))
	}
	return failed
}

// watch notes the most memory of each process until it is stopped.
func (f *fleet) watch(ctx context.Context, part, column string) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	most := map[string]int64{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			for _, p := range f.list {
				if n, err := procstat.Resident(p.PID()); err == nil {
					most[p.Name()] = max(most[p.Name()], n)
				}
			}
			if pause(ctx, 200*time.Millisecond) != nil {
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
		for _, p := range f.list {
			f.k.report.figure(part, "memory of "+p.Name()+", at most", "MiB").add(column, float64(most[p.Name()])/(1<<20))
		}
	}
}

// memory notes what processes use that have nothing to do, beside none, many finished and many waiting tasks.
func (k *kit) memory(ctx context.Context, all []*database) error {
	settle := 10 * time.Second
	if k.o.quick {
		settle = 3 * time.Second
	}
	for _, d := range all {
		if err := k.forget(ctx); err != nil {
			return err
		}
		f, err := k.start(ctx, d)
		if err != nil {
			return err
		}
		stop := f.watch(ctx, "memory", d.title)
		err = pause(ctx, settle)
		stop()
		if err = errors.Join(err, f.stop(ctx)); err != nil {
			return err
		}
		k.say("memory: %s", d.title)
	}
	return nil
}

// downtime lets tasks become due while nothing runs, starts everything, and sees what becomes of them and of fresh ones.
func (k *kit) downtime(ctx context.Context, all []*database) error {
	d := all[slices.IndexFunc(all, func(d *database) bool { return d.name == "growth_large" })]
	if err := k.downtimeOf(ctx, d); err != nil {
		return fmt.Errorf("%s: %w", d.title, err)
	}
	return nil
}

func (k *kit) downtimeOf(ctx context.Context, d *database) error {
	if err := k.forget(ctx); err != nil {
		return err
	}
	f, err := k.start(ctx, d)
	if err != nil {
		return err
	}
	drained, submitted, err := f.drainRate(ctx)
	if err == nil {
		k.report.figure("downtime", "CPU per 1,000 tasks of it, all processes", "ms").add(d.title, f.cost)
		k.report.figure("downtime", "drain of "+bench.Grouped(int64(k.drainTasks()))+" tasks before it", "tasks/s").add(d.title, drained)
	}
	var due int64
	var from, to int64
	if err == nil {
		due, from, to, err = f.submitDue(ctx, submitted)
	}
	if err = errors.Join(err, f.stop(ctx)); err != nil {
		return err
	}
	// Nothing runs when they become due.
	if _, err := k.query(ctx, d, "DO SLEEP(GREATEST(0,%d/1000+2-UNIX_TIMESTAMP(NOW(3))))", due); err != nil {
		return err
	}
	started, err := k.now(ctx, d)
	if err != nil {
		return err
	}
	if f, err = k.start(ctx, d); err != nil {
		return err
	}
	stop, before := f.watch(ctx, "downtime", d.title), f.cpu()
	fresh := f.submitFresh(ctx)
	err = f.waitFinal(ctx, from, to)
	f.cost = costOf(f.cpu()-before, k.o.due)
	err = errors.Join(err, fresh.stop())
	stop()
	if err == nil {
		err = f.tell(ctx, started, from, to, drained)
	}
	return errors.Join(err, f.stop(ctx))
}

// now is the database's time in ms.
func (k *kit) now(ctx context.Context, d *database) (int64, error) {
	return k.number(ctx, d, "SELECT CAST(UNIX_TIMESTAMP(NOW(3))*1000 AS SIGNED)")
}

func (k *kit) drainTasks() int {
	if k.o.quick {
		return 10_000
	}
	return 50_000
}

// drainRate gives how fast these processes drain a paused queue, and how fast it was filled.
func (f *fleet) drainRate(ctx context.Context) (drained, submitted float64, err error) {
	admin := newCaller(f.baseURL, f.k.keys.Bootstrap)
	defer admin.close()
	if err := admin.call(ctx, "POST", "/v1/queues/"+dueQueue+"/pause", nil, nil); err != nil {
		return 0, 0, err
	}
	began := time.Now()
	from, to, err := f.submit(ctx, f.k.drainTasks(), "")
	if err != nil {
		return 0, 0, err
	}
	submitted = float64(f.k.drainTasks()) / time.Since(began).Seconds()
	if err := pause(ctx, time.Second); err != nil {
		return 0, 0, err
	}
	before := f.cpu()
	if err := admin.call(ctx, "POST", "/v1/queues/"+dueQueue+"/resume", nil, nil); err != nil {
		return 0, 0, err
	}
	if err := f.waitFinal(ctx, from, to); err != nil {
		return 0, 0, err
	}
	f.cost = costOf(f.cpu()-before, f.k.drainTasks())
	_, _, drained, err = f.fate(ctx, from, to, f.k.drainTasks())
	return drained, submitted, err
}

// costOf is processor time per 1,000 tasks, in ms.
func costOf(used time.Duration, tasks int) float64 {
	return float64(used) / float64(time.Millisecond) * 1000 / float64(tasks)
}

// submit submits no-op tasks by batches of 500 from two clients and gives the range of their ids.
func (f *fleet) submit(ctx context.Context, n int, runAt string) (from, to int64, err error) {
	one := `{"kind":"echo","queue":"` + dueQueue + `","payload":{"pad":"` + strings.Repeat("x", 180) + `"}`
	if runAt != "" {
		one += `,"runAt":"` + runAt + `"`
	}
	batches := make(chan int, n/500+1)
	for rest := n; rest > 0; rest -= 500 {
		batches <- min(rest, 500)
	}
	close(batches)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			c := newCaller(f.baseURL, f.d.key)
			defer c.close()
			for size := range batches {
				var got struct {
					Items []struct {
						Task struct {
							ID int64 `json:"id,string"`
						}
					}
				}
				body := []byte(`{"tasks":[` + strings.Repeat(one+"},", size-1) + one + "}]}")
				berr := c.call(ctx, "POST", "/v1/tasks/batch", body, &got)
				mu.Lock()
				for _, item := range got.Items {
					if from == 0 || item.Task.ID < from {
						from = item.Task.ID
					}
					to = max(to, item.Task.ID)
				}
				err = errors.Join(err, berr)
				mu.Unlock()
				if berr != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return from, to, err
}

var errShort = errors.New("the tasks became due before all were submitted: take fewer (-due)")

// submitDue submits the tasks that become due while nothing runs. rate is how fast some were submitted just now. When the time was
// too short it tries once more with twice as much, after the first ones are done.
func (f *fleet) submitDue(ctx context.Context, rate float64) (due, from, to int64, err error) {
	lead := 8000 + int64(1.6*1000*float64(f.k.o.due)/rate)
	due, from, to, err = f.submitIn(ctx, lead)
	if !errors.Is(err, errShort) {
		return due, from, to, err
	}
	f.k.say("%v: once more", err)
	if err := f.waitFinal(ctx, from, to); err != nil {
		return due, from, to, err
	}
	return f.submitIn(ctx, 2*lead)
}

// submitIn submits tasks that are due in so many ms.
func (f *fleet) submitIn(ctx context.Context, lead int64) (due, from, to int64, err error) {
	now, err := f.k.now(ctx, f.d)
	if err != nil {
		return 0, 0, 0, err
	}
	due = now + lead
	began := time.Now()
	from, to, err = f.submit(ctx, f.k.o.due, instant(due))
	if err != nil {
		return due, from, to, err
	}
	took := time.Since(began)
	if now, err = f.k.now(ctx, f.d); err == nil && now > due-4000 {
		err = errShort
	}
	if err != nil {
		return due, from, to, err
	}
	f.k.report.figure("downtime", "submitted before it, 2 HTTP clients, batches of 500", "tasks/s").add(f.d.title, float64(f.k.o.due)/took.Seconds())
	f.k.say("%s: %d tasks wait for one instant, %.0f s from now", f.d.title, f.k.o.due, float64(due-now)/1000)
	return due, from, to, err
}

// waitFinal waits until every task of a range is final, looking only at the end of what is left: a count of all of them would cost
// what is measured. It does not wait for ever.
func (f *fleet) waitFinal(ctx context.Context, from, to int64) error {
	ctx, cancel := context.WithTimeoutCause(ctx, finalTime, errStuck)
	defer cancel()
	for {
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
		left, err := f.k.number(ctx, f.d, "SELECT COUNT(*) FROM (SELECT 1 FROM bells WHERE kind=0 AND lane_id IN (SELECT id FROM lanes WHERE queue='%s') LIMIT 1) x", dueQueue)
		if err != nil {
			return err
		}
		if left > 0 {
			continue
		}
		if left, err = f.k.number(ctx, f.d, "SELECT COUNT(*) FROM (SELECT 1 FROM tasks WHERE id BETWEEN %d AND %d AND state<4 LIMIT 1) x", from, to); err != nil || left == 0 {
			return err
		}
	}
}

// finalTime is far more than a million tasks take.
const finalTime = 5 * time.Minute

var errStuck = fmt.Errorf("tasks are not final after %v", finalTime)

// fate is when the first of a range of so many tasks started and the last ended, and how many ended each second.
func (f *fleet) fate(ctx context.Context, from, to int64, want int) (first, last int64, rate float64, err error) {
	text, err := f.k.query(ctx, f.d, "SELECT COUNT(*),SUM(epoch<>1 OR state<>4),MIN(started_at),MAX(finished_at) FROM tasks WHERE id BETWEEN %d AND %d"+
		" AND lane_id IN (SELECT id FROM lanes WHERE queue='%s')", from, to, dueQueue)
	if err != nil {
		return 0, 0, 0, err
	}
	var n, odd int64
	if _, err := fmt.Sscan(text, &n, &odd, &first, &last); err != nil {
		return 0, 0, 0, fmt.Errorf("read %q: %w", text, err)
	}
	if n != int64(want) {
		return 0, 0, 0, fmt.Errorf("%d of %d accepted tasks are there: %w", n, want, errFate)
	}
	if odd > 0 {
		return 0, 0, 0, fmt.Errorf("%d of %d tasks ran twice or did not succeed: %w", odd, n, errFate)
	}
	return first, last, float64(n) * 1000 / float64(max(1, last-first)), nil
}

// fresh submits a task each tenth of a second while the backlog is worked off: of the same app in another queue, and of another
// app in the backlog's own queue.
type fresh struct {
	cancel context.CancelFunc
	done   chan error
}

func (f *fleet) submitFresh(ctx context.Context) *fresh {
	ctx, cancel := context.WithCancel(ctx)
	one := &fresh{cancel: cancel, done: make(chan error, 1)}
	go func() {
		admin := newCaller(f.baseURL, f.k.keys.Bootstrap)
		mine := newCaller(f.baseURL, f.d.key)
		defer admin.close()
		defer mine.close()
		for i := 0; pause(ctx, 100*time.Millisecond) == nil; i++ {
			c, queue := mine, freshQueue
			if i%2 == 1 {
				c, queue = admin, dueQueue // of the app "default"
			}
			err := c.call(context.WithoutCancel(ctx), "POST", "/v1/tasks", map[string]any{"kind": "echo", "queue": queue, "payload": i}, nil)
			if err != nil {
				one.done <- err
				return
			}
		}
		one.done <- nil
	}()
	return one
}

func (o *fresh) stop() error {
	o.cancel()
	return <-o.done
}

// tell adds the figures of a downtime.
func (f *fleet) tell(ctx context.Context, started, from, to int64, drained float64) error {
	first, last, rate, err := f.fate(ctx, from, to, f.k.o.due)
	if err != nil {
		return err
	}
	add := func(name, unit string, v float64) { f.k.report.figure("downtime", name, unit).add(f.d.title, v) }
	add("start of the processes to the first task's start", "ms", float64(first-started))
	add("… to the last task's end", "s", float64(last-started)/1000)
	add("worked off", "tasks/s", rate)
	add("… of the drain before it", "×", rate/drained)
	add("CPU per 1,000 of them, all processes", "ms", f.cost)
	for _, one := range []struct{ name, where string }{
		{"fresh task, same app, another queue", "app_id=(SELECT id FROM apps WHERE app_key='" + f.d.app + "') AND lane_id IN (SELECT id FROM lanes WHERE queue='" + freshQueue + "')"},
		{"fresh task, another app, the backlog's queue", "app_id<>(SELECT id FROM apps WHERE app_key='" + f.d.app + "') AND lane_id IN (SELECT id FROM lanes WHERE queue='" + dueQueue + "')"},
	} {
		if err := f.tellFresh(ctx, one.name, one.where, to, last); err != nil {
			return err
		}
	}
	return nil
}

// tellFresh adds how long fresh tasks waited that were submitted before the last of the backlog ended.
func (f *fleet) tellFresh(ctx context.Context, name, where string, after, before int64) error {
	// One that has not started yet has waited until now.
	text, err := f.k.query(ctx, f.d, "SELECT IF(started_at>0,started_at,%d)-created_at AS w FROM tasks WHERE id>%d AND created_at<%d AND %s ORDER BY w", before, after, before, where)
	if err != nil {
		return err
	}
	var waits []float64
	for _, line := range strings.Fields(text) {
		v, err := strconv.ParseFloat(line, 64)
		if err != nil {
			return fmt.Errorf("read %q: %w", line, err)
		}
		waits = append(waits, v)
	}
	if len(waits) == 0 {
		return nil
	}
	f.k.report.figure("downtime", name+": p50 to its start", "ms").add(f.d.title, waits[len(waits)/2])
	f.k.report.figure("downtime", name+": the slowest", "ms").add(f.d.title, waits[len(waits)-1])
	return nil
}
