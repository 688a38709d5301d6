package rest

import (
	"context"
	"net/http"

	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

func (a *api) taskStack(ctx context.Context, c call) (httpkit.Response, error) {
	id, err := pathID(c, "id", "task")
	if err != nil {
		return httpkit.Response{}, err
	}
	d, row, err := a.svc.Look(ctx, c.who, id)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := apiv1.Stack{Attempt: apiv1.ID(d.AttemptID), Epoch: int(d.Epoch), Worker: apiv1.ID(row.WorkerID), ElapsedMs: d.ElapsedMs, Zombie: d.Zombie,
		Progress: d.Progress, Goroutines: make([]apiv1.Goroutine, 0, len(d.Goroutines))}
	for _, g := range d.Goroutines {
		shown := apiv1.Goroutine{State: g.State, Frames: make([]apiv1.Frame, 0, len(g.Frames))}
		for _, f := range g.Frames {
			shown.Frames = append(shown.Frames, apiv1.Frame(f))
		}
		out.Goroutines = append(out.Goroutines, shown)
	}
	return httpkit.JSON(http.StatusOK, out)
}
