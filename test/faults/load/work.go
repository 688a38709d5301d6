package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/test/faults/history"
)

// pace hands out draws so that the tasks of them keep the rate. What clients do not take in time is not made up for.
func (l *Load) pace(ctx context.Context, to chan<- int) {
	defer close(to)
	next := time.Now()
	for n := 1; ; n++ {
		wait(ctx, time.Until(next))
		if ctx.Err() != nil {
			return
		}
		select {
		case to <- n:
		case <-ctx.Done():
			return
		}
		tasks := float64(len(l.drawn(n).wants))
		next = next.Add(time.Duration(tasks / l.o.Rate * float64(time.Second)))
		if now := time.Now(); next.Before(now.Add(-time.Second)) {
			next = now
		}
	}
}

// work is one client: first what the agenda says, then new submits, until ctx ends.
func (l *Load) work(ctx context.Context, paced <-chan int) {
	for {
		do, next, changed := l.agenda.take()
		if do != nil {
			do(ctx)
			l.agenda.done()
			continue
		}
		timer := time.NewTimer(next)
		select {
		case n, ok := <-paced:
			if !ok {
				paced = nil // Stop: only the agenda is left
				break
			}
			l.perform(ctx, l.drawn(n))
		case <-changed:
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
		if ctx.Err() != nil {
			return
		}
	}
}

// perform submits a draw and notes what is to follow.
func (l *Load) perform(ctx context.Context, d *draw) {
	o := history.Op{Kind: history.OpSubmit, Key: fmt.Sprintf("%s.%d", l.name, d.n)}
	if d.batch {
		o.Kind = history.OpBatch
	}
	for _, t := range d.wants {
		l.prepareTicket(t, d)
		o.Wants = append(o.Wants, t.want)
	}
	l.tickets.issue(d.wants...)
	subs := l.requests(d)
	o = l.send(ctx, o, subs)
	if !o.Done() {
		return
	}
	for i := range o.Items {
		if o.Items[i].Task != 0 && !o.Items[i].Kept {
			l.tickets.grant(d.wants[i])
		}
	}
	for _, f := range d.next {
		l.follow(d, f, &o, subs)
	}
}

// requests are a draw as the API takes it. They are made once: under one key the same is sent each time.
func (l *Load) requests(d *draw) []apiv1.Submit {
	now := apiv1.TimeOf(time.Now())
	out := make([]apiv1.Submit, len(d.wants))
	for i, t := range d.wants {
		out[i] = l.submit(&t.want, now)
	}
	return out
}

// send submits under the op's key.
func (l *Load) send(ctx context.Context, o history.Op, subs []apiv1.Submit) history.Op {
	if len(subs) > 1 {
		return l.call(ctx, o, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
			items, err := c.SubmitBatch(ctx, subs, opts...)
			if err != nil {
				return nil, err
			}
			return batched(items), nil
		})
	}
	return l.call(ctx, o, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		var with []client.SubmitOption
		for _, o := range opts {
			with = append(with, o)
		}
		s, err := c.SubmitTask(ctx, subs[0], with...)
		if err != nil {
			return nil, err
		}
		it := shown(&s.Task)
		it.Replayed, it.Kept = s.Replayed, s.Existing
		return []history.Item{it}, nil
	})
}

// batched turns the answer of a batch into items.
func batched(in []client.BatchItem) []history.Item {
	out := make([]history.Item, len(in))
	for i, it := range in {
		if it.Task != nil {
			out[i] = shown(it.Task)
		} else if e, ok := errors.AsType[*client.Error](it.Err); ok {
			out[i] = history.Item{Status: e.StatusCode, Code: e.Problem.Code, Holder: int64(e.Problem.TaskID)}
		}
	}
	return out
}

// prepareTicket says what clients do when the sink is called.
func (l *Load) prepareTicket(t *ticket, d *draw) {
	if t.want.Plan.Async {
		after := time.Duration(d.within(20, 500)) * time.Millisecond
		t.over = func(e *history.Effect, failed bool) {
			l.agenda.add(after, func(ctx context.Context) { l.complete(ctx, e, failed) })
		}
	}
	for _, f := range d.next {
		if f == cancelRunning {
			after := time.Duration(d.within(10, 300)) * time.Millisecond
			again := len(d.next) > 1 && d.next[1] == retryEnded
			t.began = func(e *history.Effect) {
				l.agenda.add(after, func(ctx context.Context) { l.cancel(ctx, e.Task, 10*time.Second, again) })
			}
		}
	}
}

// follow notes what is to be asked of a task that was answered.
func (l *Load) follow(d *draw, f follow, o *history.Op, subs []apiv1.Submit) {
	task := o.Items[0].Task
	soon := time.Duration(d.within(100, 1500)) * time.Millisecond
	if f == replay && !madeAll(o) {
		return // what was refused, or is somebody else's, is not remembered under the key
	}
	if task == 0 || o.Items[0].Kept {
		return
	}
	switch f {
	case cancelWaiting:
		l.agenda.add(soon, func(ctx context.Context) { l.cancel(ctx, task, 0, false) })
	case runNow:
		l.agenda.add(soon, func(ctx context.Context) { l.runNow(ctx, task) })
	case retryEnded:
		if len(d.next) == 1 || d.next[0] != cancelRunning { // else it follows the cancel
			l.agenda.add(soon, func(ctx context.Context) { l.retry(ctx, task, false, 30) })
		}
	case forceEnded:
		l.agenda.add(soon, func(ctx context.Context) { l.retry(ctx, task, true, 30) })
	case replay:
		again := history.Op{Kind: history.OpReplay, Key: o.Key, Wants: o.Wants}
		l.agenda.add(soon, func(ctx context.Context) { l.send(ctx, again, subs) })
	case misuse:
		other := history.Op{Kind: history.OpMisuse, Key: o.Key, Wants: o.Wants[:1]}
		changed := []apiv1.Submit{subs[0]}
		changed[0].Labels = map[string]string{"changed": "yes"}
		l.agenda.add(soon, func(ctx context.Context) { l.send(ctx, other, changed) })
	}
}

func madeAll(o *history.Op) bool {
	for i := range o.Items {
		if o.Items[i].Task == 0 || o.Items[i].Kept {
			return false
		}
	}
	return true
}

// cancel asks for the end of a task, and tells the sink when it is confirmed.
func (l *Load) cancel(ctx context.Context, task int64, wait time.Duration, again bool) {
	o := l.call(ctx, history.Op{Kind: history.OpCancel, Task: task}, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		return one(c.Cancel(ctx, apiv1.ID(task), wait, opts...))
	})
	if len(o.Items) == 1 && o.Done() && o.Items[0].State == apiv1.StateCancelled {
		l.sink.confirmCancel(task, o.Items[0].Epoch)
	}
	if again {
		l.agenda.add(200*time.Millisecond, func(ctx context.Context) { l.retry(ctx, task, false, 30) })
	}
}

func (l *Load) runNow(ctx context.Context, task int64) {
	l.call(ctx, history.Op{Kind: history.OpRunNow, Task: task}, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		return one(c.RunNow(ctx, apiv1.ID(task), opts...))
	})
}

// retry looks at a task until it is final, for so many looks, and re-opens it then.
func (l *Load) retry(ctx context.Context, task int64, force bool, looks int) {
	o := l.look(ctx, task)
	if len(o.Items) != 1 || !apiv1.Final(o.Items[0].State) {
		if looks > 0 {
			l.agenda.add(time.Second, func(ctx context.Context) { l.retry(ctx, task, force, looks-1) })
		}
		return
	}
	from := o.Items[0].State
	if from == apiv1.StateSucceeded && !force {
		return
	}
	l.call(ctx, history.Op{Kind: history.OpRetry, Task: task, From: from}, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		return one(c.Retry(ctx, apiv1.ID(task), force, opts...))
	})
}

// look reads tasks.
func (l *Load) look(ctx context.Context, tasks ...int64) history.Op {
	ids := make([]apiv1.ID, len(tasks))
	for i, id := range tasks {
		ids[i] = apiv1.ID(id)
	}
	o := history.Op{Kind: history.OpRead}
	return l.call(ctx, o, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		list, err := c.GetMany(ctx, ids, opts...)
		items := make([]history.Item, len(list))
		for i := range list {
			items[i] = shown(&list[i])
		}
		return items, err
	})
}

// complete says how an attempt ended that the sink had taken over.
func (l *Load) complete(ctx context.Context, e *history.Effect, failed bool) {
	how := apiv1.Complete{Epoch: e.Epoch, Outcome: apiv1.OutcomeSucceeded, Result: fmt.Appendf(nil, `{"call":%d,"epoch":%d}`, e.Call, e.Epoch)}
	if failed {
		how = apiv1.Complete{Epoch: e.Epoch, Outcome: apiv1.OutcomeFailed, Error: &apiv1.CompleteError{Code: "planned", Message: "as planned"}}
	}
	o := l.call(ctx, history.Op{Kind: history.OpComplete, Task: e.Task, Epoch: e.Epoch}, func(ctx context.Context, c *client.Client, opts ...client.CallOption) ([]history.Item, error) {
		return one(c.Complete(ctx, apiv1.ID(e.Task), how, opts...))
	})
	if o.Status == http.StatusConflict && o.Code == "attempt_running" { // its worker has not said yet that it was taken over
		l.agenda.add(time.Second, func(ctx context.Context) { l.complete(ctx, e, failed) })
	}
}

// peekEvery is how often somebody looks at tasks.
const peekEvery = 400 * time.Millisecond

// peek looks at some tasks that were asked for lately, again and again until the load stops.
func (l *Load) peek(ctx context.Context) {
	defer func() {
		if !l.stopping.Load() {
			l.agenda.add(peekEvery, l.peek)
		}
	}()
	l.mu.Lock()
	var ids []int64
	if n := len(l.recent); n > 0 {
		for i := range min(n, 20) {
			ids = append(ids, l.recent[(int(l.serial.Load())*7+i*31)%n])
		}
	}
	l.mu.Unlock()
	if len(ids) > 0 {
		l.look(ctx, ids...)
	}
}
