package task

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

func TestTransient(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                               false,
		errors.New("data too long"):       false,
		InvalidField("a", "range", "b"):   false,
		Gone("database_unavailable", nil): true,
		fmt.Errorf("claim: %w", Gone("database_unavailable", errors.New("refused"))): true,
		fmt.Errorf("claim: %w", ErrOutcomeUnknown):                                   true,
		fmt.Errorf("read: %w", context.DeadlineExceeded):                             true,
		context.Canceled: true,
	} {
		if got := Transient(err); got != want {
			t.Errorf("%v: %v", err, got)
		}
	}
}
