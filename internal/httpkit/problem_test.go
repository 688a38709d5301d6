package httpkit

import (
	"errors"
	"fmt"
	"net/http"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// Whoever asks is told that nobody knows, whatever the use case made of it: not that the server is at fault, nor that nothing was changed.
func TestAnUnknownOutcomeIsCalledSo(t *testing.T) {
	cause := task.Gone("database_unavailable", errors.New("gone"))
	for _, err := range []error{
		task.ErrOutcomeUnknown,
		fmt.Errorf("%w: %w", task.ErrOutcomeUnknown, cause),
		errors.Join(task.ErrOutcomeUnknown, cause),
		&task.Error{Kind: task.Unavailable, Code: "outcome_unknown", Cause: task.ErrOutcomeUnknown},
	} {
		if p := ProblemOf(err); p.Status != http.StatusServiceUnavailable || p.Code != "outcome_unknown" || Status(err) != p.Status {
			t.Errorf("%v: %+v", err, p)
		}
	}
	if p := ProblemOf(cause); p.Code != "database_unavailable" {
		t.Errorf("%+v", p)
	}
	if p := ProblemOf(errors.New("a bug")); p.Status != http.StatusInternalServerError {
		t.Errorf("%+v", p)
	}
}
