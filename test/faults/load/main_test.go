package load

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/testkit"
)

// binDir is where the programs are built.
var binDir string

var built = sync.OnceValues(func() (testkit.Programs, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return testkit.BuildPrograms(ctx, binDir)
})

func TestMain(m *testing.M) {
	dir, err := testkit.TempDir()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	binDir = dir
	code := m.Run()
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = max(code, 1)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func programs(t *testing.T) testkit.Programs {
	t.Helper()
	if testing.Short() {
		t.Skip("skipped: -short")
	}
	p, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return p
}
