//go:build !unix

package shell

import (
	"context"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

const supported = false

// MaybeSupervise does nothing here: there are no supervisors on this system.
func MaybeSupervise() {}

// Run is never reached: New refuses.
func (*Shell) Run(context.Context, worker.Job) task.Result {
	return task.Result{Outcome: task.OutcomeFailed, Permanent: true, ErrCode: "unsupported", ErrMessage: ErrUnsupported.Error()}
}
