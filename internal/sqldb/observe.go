package sqldb

import "context"

// Observer watches the transactions of a Store from outside, for checkers of what several processes do at once: what it does in
// Before and After is what another process could have done at that moment. Whatever it does through the same Store is observed
// too. Allocations of ids are not: nothing else depends on when they happen.
type Observer interface {
	// Before is called when a call has read what it reads before its transaction, which is about to begin.
	Before()
	// After is called when a transaction has ended, with its error. What it gives takes the place of that error: one that wraps
	// task.ErrOutcomeUnknown makes the caller look up what became of the transaction, as if its answer was lost.
	After(err error) error
}

// Observe sets the observer; nil takes it away. For tests of other packages only, internal/modelcheck above all, which is why it is not in
// a test file: no program of Taskweir calls it. To be called while nobody else uses the store.
func (s *Store) Observe(o Observer) { s.engine.observer = o }

// observed is write for those who look up what became of a transaction whose answer was lost.
func (s *Store) observed(ctx context.Context, fn func(context.Context, tx) error) error {
	o := s.engine.observer
	if o == nil {
		return s.write(ctx, fn)
	}
	o.Before()
	return o.After(s.write(ctx, fn))
}
