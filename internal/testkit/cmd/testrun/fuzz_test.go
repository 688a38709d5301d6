package main

import "testing"

func TestOnlyTheEndOfTheTimeIsTriedAgain(t *testing.T) {
	for out, want := range map[string]bool{
		"--- FAIL: FuzzX (2.03s)\n    context deadline exceeded\nFAIL\n":                                                true,
		"--- FAIL: FuzzX (0.1s)\n    x_test.go:1: context deadline exceeded\n    Failing input written to testdata/x\n": false,
		"--- FAIL: FuzzX (0.1s)\n    panic: boom\n":                                                                     false,
	} {
		if got := endedByItsTime([]byte(out)); got != want {
			t.Errorf("%q: %v, want %v", out, got, want)
		}
	}
}
