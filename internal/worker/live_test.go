package worker

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// Reports reach the live view with those who are shown there, the last one in the end, at most a few times a second however
// many come; of tasks that end sooner none does.
func TestReportsAreShownNowAndThen(t *testing.T) {
	bubble(t, func(t *testing.T) {
		report := func(j Job, v any) {
			if err := j.Report(v); err != nil {
				t.Error(err)
			}
		}
		r := start(t, newFakeStore(), runners{
			"short": func(_ context.Context, j Job) task.Result {
				report(j, "seen by nobody")
				time.Sleep(100 * time.Millisecond)
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
			"early": func(_ context.Context, j Job) task.Result {
				report(j, "before it is shown")
				time.Sleep(3 * time.Second)
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
			"often": func(_ context.Context, j Job) task.Result {
				for i := range 3_000 {
					report(j, i)
					time.Sleep(time.Millisecond)
				}
				time.Sleep(time.Second)
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
			"silent": func(context.Context, Job) task.Result {
				time.Sleep(3 * time.Second)
				return task.Result{Outcome: task.OutcomeSucceeded}
			},
		})
		rung := r.store.add(1, spec{kind: "short"}, spec{kind: "early"}, spec{kind: "often"}, spec{kind: "silent"})
		short, early, often, silent := rung.TaskIDs[0], rung.TaskIDs[1], rung.TaskIDs[2], rung.TaskIDs[3]
		r.bus.Ring(rung)
		after(time.Second)
		if got := r.live.reported(early); len(got) != 1 || string(got[0].Vars) != `"before it is shown"` || got[0].Epoch != 1 || got[0].TaskID != early {
			t.Errorf("early: %+v", got)
		}
		after(2500 * time.Millisecond)
		got := r.live.reported(often)
		if len(got) < 8 || len(got) > 11 || string(got[len(got)-1].Vars) != "2999" {
			t.Errorf("%d of 3000 in 3 s: %s", len(got), fmt.Sprint(got))
		}
		if n := len(r.live.reported(short)) + len(r.live.reported(silent)); n != 0 {
			t.Errorf("%d reports of tasks that are too short, or reported nothing", n)
		}
		after(time.Second)
		if n := len(r.live.entries()); n != 0 {
			t.Errorf("%d still shown", n)
		}
		r.stop()
	})
}

func BenchmarkReport(b *testing.B) {
	q := liveQueue{}
	q.init()
	j := Job{run: &run{news: &q}}
	b.ReportAllocs()
	for b.Loop() {
		if err := j.Report(17); err != nil {
			b.Fatal(err)
		}
	}
}
