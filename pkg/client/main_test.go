package client_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/app"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/runner/shell"
)

// TestMain runs tests and examples beside a standalone, whose address and key the examples take from the environment, as programs
// do. This binary may also be the supervisor of a command that a test runs.
func TestMain(m *testing.M) {
	shell.MaybeSupervise()
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "taskweir-client-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		before := goleak.IgnoreCurrent()
		server, err := standalone(dir)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		os.Setenv("TASKWEIR_URL", server.URL())
		os.Setenv("TASKWEIR_API_KEY", server.APIKey())
		code := m.Run()
		if err := server.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if err := goleak.Find(before); err != nil && code == 0 {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return code
	}())
}

// standalone starts a server on SQLite in a folder, with settings beyond those of every test.
func standalone(dir string, environ ...string) (*app.App, error) {
	cfg, err := config.Load(config.Standalone, nil, append([]string{"TASKWEIR_HTTP_ADDR=127.0.0.1:0", "TASKWEIR_DATA_DIR=" + dir, "TASKWEIR_DRAIN_TIME=200ms"}, environ...))
	if err != nil {
		return nil, err
	}
	return app.Start(context.Background(), cfg, app.Options{Logger: slog.New(slog.DiscardHandler)})
}
