package cli

import (
	"context"
	"flag"
	"log/slog"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/secret"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

var update = flag.Bool("update", false, "write what the commands of docs/schedules.md print into it")

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

// Every command in a console block of the page prints what the page says, against the real API.
func TestDocumentedCommands(t *testing.T) {
	const page = "../../docs/schedules.md"
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	url, ran := realAPI(t), 0
	block := regexp.MustCompile("(?s)```console\n(.*?)```")
	text := block.ReplaceAllStringFunc(string(raw), func(b string) string {
		out := "```console\n"
		for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(b, "```console\n"), "```"), "$ taskweir ") {
			line, said, _ := strings.Cut(part, "\n")
			if line == "" {
				continue
			}
			ran++
			r := run(t, url, "", words(line)...)
			prints := trailing.ReplaceAllString(r.out+r.err, "")
			if prints != said && !*update {
				t.Errorf("%s\nprints\n%s\nthe page says\n%s", line, prints, said)
			}
			out += "$ taskweir " + line + "\n" + prints
		}
		return out + "```"
	})
	if ran < 10 {
		t.Fatalf("only %d commands were found", ran)
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

var trailing = regexp.MustCompile(`(?m) +$`)

// words splits a command line as a shell does, as far as the page needs it: blanks and single quotes.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}
