package app

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/taskweir/taskweir/internal/config"
)

// A signal that comes while a process starts ends the start, and the error names it rather than what it broke off.
func TestASignalDuringTheStartIsNamed(t *testing.T) {
	cfg, err := config.Load(config.Worker, nil, []string{"TASKWEIR_DATABASE_URL=mysql://u:p@127.0.0.1:1/x", "TASKWEIR_REDIS_URL=redis://127.0.0.1:1", "TASKWEIR_NSQ_NSQD=127.0.0.1:1",
		"TASKWEIR_ENCRYPTION_KEY=MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "TASKWEIR_CLUSTER_KEY=0123456789abcdef0123", "TASKWEIR_OPS_ADDR=127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	signals := make(chan os.Signal, 2)
	// The start fails by itself too: which comes first is chance, and the signal is said whenever it was seen.
	for range 200 {
		signals <- syscall.SIGTERM
		_, err := startUnlessSignalled(t.Context(), cfg, Options{Logger: slog.New(slog.DiscardHandler)}, signals)
		<-signals
		if err == nil {
			t.Fatal("it started")
		}
		if strings.Contains(err.Error(), "while starting") {
			if !strings.Contains(err.Error(), syscall.SIGTERM.String()) || strings.Contains(err.Error(), "context canceled") {
				t.Error(err)
			}
			return
		}
	}
	t.Error("the signal was never said")
}
