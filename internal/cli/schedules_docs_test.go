package cli

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"testing"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

type silent struct{}

func (silent) Ring(...task.Rung) {}

// realAPI is the API over a database of its own.
func realAPI(t *testing.T) string {
	t.Helper()
	store := sqldbtest.New(t, "sqlite")
	log := slog.New(slog.DiscardHandler)
	box, err := secret.New([32]byte{1})
	if err != nil {
		t.Fatal(err)
	}
	svc := control.New(control.Options{Store: store, Ringer: silent{}, Clock: store.Clock(), Logger: log,
		Checks: map[string]func([]byte) []task.FieldError{"echo": nil, "http": nil}, Secrets: box})
	if err := svc.Bootstrap(context.Background(), testKey); err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewServer(rest.New(rest.Options{Service: svc, Logger: log}))
	t.Cleanup(func() {
		srv.Close()
		svc.Close(context.Background())
	})
	return srv.URL
}
