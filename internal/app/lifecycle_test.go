package app

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func TestPartsEndInReverseAndOnce(t *testing.T) {
	l := lifecycle{log: slog.New(slog.DiscardHandler)}
	var ended []string
	for _, name := range []string{"store", "broker", "worker"} {
		l.onStop(name, time.Second, func(context.Context) error { ended = append(ended, name); return nil })
	}
	if err := errors.Join(l.stop(time.Second), l.stop(time.Second)); err != nil {
		t.Fatal(err)
	}
	if want := []string{"worker", "broker", "store"}; !slices.Equal(ended, want) {
		t.Errorf("ended %v, want %v", ended, want)
	}
}

func TestAPartThatHangsDoesNotHoldUpTheOthers(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		l := lifecycle{log: slog.New(slog.DiscardHandler)}
		storeEnded := false
		hang := make(chan struct{})
		l.onStop("store", time.Second, func(context.Context) error { storeEnded = true; return nil })
		l.onStop("worker", 12*time.Second, func(context.Context) error { <-hang; return nil })
		began := time.Now()
		err := l.stop(time.Minute)
		if took := time.Since(began); took != 12*time.Second {
			t.Errorf("took %s, want the bound of the one that hangs", took)
		}
		if err == nil || !storeEnded {
			t.Errorf("store ended: %v, error: %v", storeEnded, err)
		}
		close(hang)
	})
}

func TestALoopThatFailsIsReported(t *testing.T) {
	l := lifecycle{log: slog.New(slog.DiscardHandler)}
	failed := make(chan error, 1)
	broken := errors.New("broken")
	l.run("scheduler", func(err error) { failed <- err }, func(context.Context) error { return broken })
	if err := <-failed; !errors.Is(err, broken) {
		t.Errorf("reported %v", err)
	}
	if err := l.stop(time.Second); err != nil {
		t.Error(err)
	}
}

func TestPartsThatHangShareTheTimeOfAll(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		l := lifecycle{log: slog.New(slog.DiscardHandler)}
		hang := make(chan struct{})
		begun := false
		l.atStop(func() { begun = true })
		for _, name := range []string{"store", "broker", "worker"} {
			l.onStop(name, 12*time.Second, func(context.Context) error {
				if !begun {
					t.Errorf("%s ended before what begins with the stop", name)
				}
				<-hang
				return nil
			})
		}
		began := time.Now()
		if err := l.stop(12 * time.Second); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took > 12*time.Second+2*leastBound {
			t.Errorf("took %s", took)
		}
		close(hang)
	})
}
