package sqldb_test

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// When SQLite itself rolls a turn's transaction back, whoever was in it hears that nothing was stored, and who comes after
// has a transaction of his own.
func TestTurnThatTheDatabaseRollsBack(t *testing.T) {
	for _, silent := range []bool{false, true} { // whether the closure passes the error on
		s := sqldbtest.New(t, "sqlite")
		ctx := t.Context()
		hold, held := make(chan struct{}), make(chan struct{})
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = s.WriteForTest(ctx, func(func(string) error) error {
				close(held)
				<-hold
				return errOnPurpose
			})
		})
		<-held
		errs := make([]error, 4)
		for i := range errs {
			wg.Go(func() {
				errs[i] = s.WriteForTest(ctx, func(exec func(string) error) error {
					name := itoa(i)
					if i == 2 { // the conflict rolls back as a full disk does
						if err := exec("INSERT OR ROLLBACK INTO ids (name,next) VALUES ('" + itoa(0) + "',1)"); !silent {
							return err
						}
						return nil
					}
					return exec("INSERT INTO ids (name,next) VALUES ('" + name + "',1)")
				})
			})
			for s.QueuedForTest() != i+1 {
				time.Sleep(time.Millisecond)
			}
		}
		close(hold)
		wg.Wait()
		for i, err := range errs {
			var stored int
			if err := s.DB().QueryRow("SELECT COUNT(*) FROM ids WHERE name=?", itoa(i)).Scan(&stored); err != nil {
				t.Fatal(err)
			}
			if (err == nil) != (stored == 1) {
				t.Errorf("silent %v, %d: told %v, stored %d", silent, i, err, stored)
			}
			if i < 2 && (task.KindOf(err) != task.Unavailable || errors.Is(err, task.ErrOutcomeUnknown)) {
				t.Errorf("silent %v, %d: %v, want that nothing was stored", silent, i, err)
			}
			if i == 2 && err == nil {
				t.Errorf("silent %v: the guilty one was told nothing", silent)
			}
			if i == 3 && err != nil {
				t.Errorf("silent %v: the one behind: %v", silent, err)
			}
		}
	}
}

// TestTransactionLeftOpen: one whose end failed is in nobody's way, and nobody is told its error.
func TestTransactionLeftOpen(t *testing.T) {
	s := sqldbtest.New(t, "sqlite")
	if err := s.LeaveOpen(); err != nil {
		t.Fatal(err)
	}
	for i := range 2 {
		if err := s.Exec(t.Context(), "INSERT INTO ids (name,next) VALUES ('"+itoa(i)+"',1)"); err != nil {
			t.Fatal(i, err)
		}
	}
}
