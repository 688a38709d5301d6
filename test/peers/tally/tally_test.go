package tally

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestWaitEndsWithTheLastOfManyAtOnce(t *testing.T) {
	c := New()
	for round := range int64(200) {
		for range 50 {
			go c.Add()
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if err := c.Wait(ctx, (round+1)*50); err != nil {
			t.Fatalf("round %d: %v at %d", round, err, c.Count())
		}
		cancel()
		if c.Count() != (round+1)*50 {
			t.Fatalf("round %d ended at %d", round, c.Count())
		}
	}
}

func TestWaitEndsWithItsContext(t *testing.T) {
	c := New()
	c.Add()
	if err := c.Wait(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := c.Wait(ctx, 2); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
}
