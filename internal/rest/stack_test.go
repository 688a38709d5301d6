package rest_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// The stack comes from the worker and epoch that the database names; every way in which there is none has its own answer.
func TestTaskStack(t *testing.T) {
	onBoth(t, func(w *world) {
		mine := w.submit(`{"kind":"echo"}`)
		path := "/v1/tasks/" + mine.ID.String() + "/stack"
		if p := w.do("GET", path, "").want(409).problem(); p.Code != "task_not_running" || p.TaskID != mine.ID {
			w.t.Errorf("%+v", p)
		}
		worker, claimed := w.start(int64(mine.ID))
		asked := 0
		w.live.look = func(workerID, taskID int64, epoch int32) (task.LiveDetail, error) {
			if workerID != worker || taskID != int64(mine.ID) || epoch != 1 {
				w.t.Errorf("asked %d for %d in epoch %d", workerID, taskID, epoch)
			}
			if asked++; asked == 1 {
				return task.LiveDetail{Gone: true}, nil // the claim is just being written
			}
			return task.LiveDetail{AttemptID: claimed.Tasks[0].AttemptID, Epoch: 1, ElapsedMs: 7, Progress: json.RawMessage(`{"done":3}`), Goroutines: []task.Goroutine{
				{State: "IO wait", Frames: []task.Frame{{Function: "net.(*netFD).Read", File: "/go/net/fd.go", Line: 55}}}, {State: "running"}}}, nil
		}
		got := w.do("GET", path, "").want(200).Body.String()
		want := `{"attempt":"` + apiv1.ID(claimed.Tasks[0].AttemptID).String() + `","epoch":1,"worker":"` + apiv1.ID(worker).String() +
			`","elapsedMs":7,"zombie":false,"progress":{"done":3},"goroutines":[{"state":"IO wait","frames":[{"function":"net.(*netFD).Read","file":"/go/net/fd.go","line":55}]},{"state":"running","frames":[]}]}`
		if got != want {
			w.t.Errorf("%s\nwant %s", got, want)
		}
		w.live.look = func(int64, int64, int32) (task.LiveDetail, error) {
			return task.LiveDetail{}, errors.New("no answer in time")
		}
		if a := w.do("GET", path, "").want(503); a.problem().Code != "live_view_unavailable" || a.Header().Get("Retry-After") == "" {
			w.t.Errorf("%s", a.Body)
		}
		w.live.look = nil // the worker says that it does not run it, again and again
		if p := w.do("GET", path, "").want(409).problem(); p.Code != "task_not_running" {
			w.t.Errorf("%+v", p)
		}
		w.finish(worker, claimed, task.Succeeded, nil)
		if p := w.do("GET", path, "").want(409).problem(); p.Code != "task_not_running" {
			w.t.Errorf("%+v", p)
		}
		w.do("GET", "/v1/tasks/x/stack", "").want(404)
		w.do("GET", "/v1/tasks/999999/stack", "").want(404)
	})
}
