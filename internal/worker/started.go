package worker

import "github.com/taskweir/taskweir/internal/task"

// tellStarted tells those who listen to events that attempts begin.
func (e *Engine) tellStarted(runs []*run) {
	to := e.o.Changes
	if to == nil || !to.Listening() {
		return
	}
	list := make([]task.Change, 0, len(runs))
	for _, r := range runs {
		list = append(list, task.Change{Type: task.ChangeStarted, State: task.Running, Epoch: r.end.Epoch, AppID: r.end.AppID, LaneID: r.end.LaneID,
			KindID: r.end.KindID, TaskID: r.end.TaskID, WorkerID: r.end.WorkerID, At: r.end.StartedAt})
	}
	to.Changed(list)
}
