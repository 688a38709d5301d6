package rest_test

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// What the running attempt reported is part of the task when it alone is asked for; lists, tasks that do not run and those that
// have just begun ask nobody, and without Redis there is none.
func TestProgressOfATask(t *testing.T) {
	onBoth(t, func(w *world) {
		mine := w.submit(`{"kind":"echo"}`)
		id := int64(mine.ID)
		path, asked, says := "/v1/tasks/"+mine.ID.String(), 0, `{"done":3}`
		var worker int64
		w.live.report = func(workerID, taskID int64, epoch int32) (json.RawMessage, error) {
			if asked++; workerID != worker || taskID != id || epoch != 1 {
				w.t.Errorf("asked for task %d of %d in epoch %d", taskID, workerID, epoch)
			}
			if says == "" {
				return nil, errors.New("not in time")
			}
			return json.RawMessage(says), nil
		}
		progress := func(path string) string {
			w.t.Helper()
			return string(w.do("GET", path, "").want(200).task().Progress)
		}
		if got := progress(path); got != "null" || asked != 0 {
			w.t.Errorf("while it waits: %s, asked %d times", got, asked)
		}
		var claimed task.Claimed
		worker, claimed = w.start(id)
		for end := time.Now().Add(15 * time.Second); progress(path) != says; time.Sleep(10 * time.Millisecond) {
			if time.Now().After(end) {
				w.t.Fatal("the report is not shown")
			}
		}
		first := w.do("GET", path, "").want(200)
		w.do("GET", path, "", "If-None-Match", first.Header().Get("ETag")).want(304)
		says = `{"done":4}`
		w.do("GET", path, "", "If-None-Match", first.Header().Get("ETag")).want(200)
		before := asked
		w.do("GET", "/v1/tasks", "").want(200)
		w.do("GET", "/v1/tasks?ids="+mine.ID.String(), "").want(200)
		if asked != before {
			w.t.Errorf("lists asked %d times", asked-before)
		}
		if got := progress(path + "?wait=300ms"); got != says || asked != before+1 {
			w.t.Errorf("after a wait: %s, asked %d times", got, asked-before)
		}
		says = ""
		if got := progress(path); got != "null" {
			w.t.Errorf("without an answer: %s", got)
		}
		before = asked
		w.finish(worker, claimed, task.Succeeded, nil)
		if got := progress(path); got != "null" || asked != before {
			w.t.Errorf("after its end: %s, asked %d times", got, asked-before)
		}
	})
}
