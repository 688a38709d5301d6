package serendipity

import (
	"context"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// run is what coroutine_id, id or both name.
type run struct {
	view  task.View
	known bool // there is such a task of the app, and coroutine_id is its running attempt where it was given
	byID  bool // id was given
}

// running reports whether an attempt runs, and which.
func (r *run) running() (attempt int64, ok bool) {
	if r.view.State != task.Running {
		return 0, false
	}
	return r.view.AttemptID, r.view.AttemptID != 0
}

// named finds what a request names. What does not exist, belongs to another app or has ended is not known, and no error; two
// parameters that name different tasks are one.
func (a *api) named(ctx context.Context, c call) (r run, err error) {
	attempt, byAttempt, err := number(c.params.Get("coroutine_id"))
	if err != nil {
		return r, err
	}
	id, byID, err := taskNamed(c.params)
	if err != nil {
		return r, err
	}
	if r.byID = byID; !byAttempt && !byID {
		return r, refusal(textBadParams)
	}
	if byAttempt {
		of, err := a.svc.TaskOfAttempt(ctx, c.who, attempt)
		if err != nil {
			return r, unlessMissing(err)
		}
		if byID && of != id {
			return r, refusal(textBadParams)
		}
		id = of
	}
	if r.view, err = a.svc.Get(ctx, c.who, id); err != nil {
		return r, unlessMissing(err)
	}
	now, runs := r.running()
	r.known = !byAttempt || runs && now == attempt
	return r, nil
}

// taskNamed reads id, or task_id as /nsq/publish calls it, or both, which must agree.
func taskNamed(p compat.Params) (id int64, given bool, err error) {
	for _, name := range [...]string{"id", "task_id"} {
		n, there, err := number(p.Get(name))
		if err != nil || given && there && n != id {
			return 0, true, refusal(textBadParams)
		}
		if there {
			id, given = n, true
		}
	}
	return id, given, nil
}

func unlessMissing(err error) error {
	if task.KindOf(err) == task.NotFound {
		return nil
	}
	return err
}

// cancelTask kills a run, or a task that waits when it is named by id.
func (a *api) cancelTask(ctx context.Context, c call) (httpkit.Response, error) {
	r, err := a.named(ctx, c)
	if err != nil {
		return httpkit.Response{}, err
	}
	if !r.known || r.view.State.Final() {
		return httpkit.Response{}, refusal(textUnknown)
	}
	v, err := a.svc.Cancel(ctx, c.who, r.view.ID, killIn)
	switch {
	case err != nil && task.KindOf(err) == task.NotFound:
		return httpkit.Response{}, refusal(textUnknown)
	case err != nil:
		return httpkit.Response{}, err
	case v.State == task.Cancelled:
		return ok(textKilled, noData)
	case v.State.Final(): // it ended by itself before it could be killed
		return httpkit.Response{}, refusal(textUnknown)
	}
	return httpkit.Response{}, refusal(textNotKilled)
}
