package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFuzzTargetsAreFound(t *testing.T) {
	targets, err := fuzzTargets(t.Context(), []string{"github.com/taskweir/taskweir/internal/bench"})
	if err != nil {
		t.Fatal(err)
	}
	if len(targets) != 1 || targets[0].name != "FuzzSingleID" || filepath.Base(targets[0].dir) != "bench" {
		t.Fatalf("%+v", targets)
	}
	if _, err := fuzzTargets(t.Context(), []string{"./no/such/folder"}); err == nil {
		t.Fatal("a folder that does not exist has no error")
	}
}

func TestGoCommandPassesTheExitCode(t *testing.T) {
	var out strings.Builder
	if code := goCommand(t.Context(), os.Environ(), &out, "version"); code != 0 || !strings.HasPrefix(out.String(), "go version ") {
		t.Fatalf("code %d, %q", code, out.String())
	}
	if code := goCommand(t.Context(), os.Environ(), &out, "no-such-subcommand"); code != 2 {
		t.Fatalf("code %d", code)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if code := goCommand(ctx, os.Environ(), &out, "version"); code == 0 {
		t.Fatal("success after the end of the context")
	}
}
