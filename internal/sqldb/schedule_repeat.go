package sqldb

import (
	"context"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// remember writes the idempotency key of a fire that has one. It reports whether the key was known: then nothing else is to be
// written. A key that is there is somebody else's, also when it remembers the very slot that this fire asks for: of two
// triggers in one millisecond the second is the repetition.
func (f *firing) remember(ctx context.Context, t tx) (repeated bool, err error) {
	for _, one := range f.fires {
		if one.Idem == nil {
			continue
		}
		r := &task.Request{AppID: one.AppID, Idem: one.Idem, Tasks: []*task.Submission{{ID: one.Repeats}}}
		n, err := f.u.insertKeys(ctx, t, []*task.Request{r})
		if err != nil || n == 1 {
			return false, err
		}
		rows, err := readKeys(ctx, t, [][32]byte{one.Idem.Key})
		if err != nil {
			return false, err
		}
		switch row := rows[one.Idem.Key]; {
		case row.expiresAt <= f.u.now:
			_, err = f.u.renewKey(ctx, t, r)
			return false, err
		case row.request != one.Idem.Body:
			return false, &task.Error{Kind: task.Conflict, Code: "idempotency_key_reused", Message: "the idempotency key was used with another body"}
		default:
			one.Repeated = row.taskID
			return true, nil
		}
	}
	return false, nil
}

// forget takes the keys of fires back that made nothing: only what made something is remembered.
func (f *firing) forget(ctx context.Context, t tx) error {
	for _, one := range f.fires {
		if one.Idem == nil || made(one) {
			continue
		}
		if err := t.add(ctx, newText(4).s("DELETE FROM idempotency WHERE k=").hex(one.Idem.Key[:]).String()); err != nil {
			return err
		}
	}
	return nil
}

// made reports whether a slot of a fire started or waits for its turn.
func made(one *schedule.Fire) bool {
	for i := range one.Shots {
		if shot := &one.Shots[i]; !one.Lost && !shot.Known && (shot.Outcome == schedule.Fired || shot.Outcome == schedule.Held) {
			return true
		}
	}
	return false
}
