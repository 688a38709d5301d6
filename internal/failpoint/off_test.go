//go:build !faults

package failpoint_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A program without the tag has nothing of this package: not a symbol, not the name of the variable, no server. What the hot
// path pays for a point is then nothing at all.
func TestNothingOfItIsInAProgram(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "worker")
	run := func(name string, args ...string) []byte {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), name, args...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, args, err, out)
		}
		return out
	}
	run("go", "build", "-o", program, "../../cmd/worker")
	symbols := run("go", "tool", "nm", program)
	if !bytes.Contains(symbols, []byte("internal/worker.(*Engine)")) {
		t.Fatal("the program has no symbols to look at")
	}
	if bytes.Contains(symbols, []byte("internal/failpoint")) {
		t.Error("the program has symbols of the failpoints")
	}
	raw, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"TASKWEIR_FAULTS_ADDR", "/faults/{point}", "submit.answer"} {
		if bytes.Contains(raw, []byte(text)) {
			t.Errorf("the program has the text %q", text)
		}
	}
}

// The tests of the points need another build: this runs them, so that go test ./... means them too.
func TestInABuildWithTheTag(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "test", "-vet=off", "-count=1", "-tags=faults", "-timeout=4m", "-run=Failpoint",
		"./...", "../sqldb", "../app").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
