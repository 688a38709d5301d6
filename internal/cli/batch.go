package cli

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	batchTasks = 1000    // of one request
	batchBytes = 8 << 20 // of one request; half of what the server takes
)

// batch sends tasks line by line in requests of many.
type batch struct {
	*program
	client *client
	file   string

	body  []byte
	lines []int // line number of each task in body

	sent, made, refused int
}

func (p *program) submitBatch() *cobra.Command {
	cmd := &cobra.Command{
		Use: "submit-batch [FILE]", Short: "Submit many tasks from a file of one JSON request a line", Args: arguments(0, 1, ""),
		Long: `Reads one request a line (as the body of POST /v1/tasks) from FILE or standard input and submits them, up to 1,000 at once. Prints what
was made in the order of the lines; what was refused is told on standard error with its line, and the exit code is 1. Each request
carries an idempotency key, so that a broken connection makes no task twice.`,
		Example: `  jq -c '{kind: "http", payload: {url: .url}}' urls.json | taskweir tasks submit-batch
  taskweir tasks submit-batch tasks.ndjson -q > ids`,
	}
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		b := &batch{program: p, client: c, file: "-"}
		in := p.In
		if len(args) == 1 && args[0] != "-" {
			f, err := os.Open(args[0])
			if err != nil {
				return usage(err)
			}
			defer f.Close()
			in, b.file = f, args[0]
		}
		return b.run(ctx, in)
	})
	return cmd
}

func (b *batch) run(ctx context.Context, in io.Reader) error {
	err := b.read(ctx, in)
	if err == nil {
		err = b.flush(ctx)
	}
	_, watched := isTerminal(b.Err)
	if watched {
		_, _ = fmt.Fprint(b.Err, "\r\x1b[K")
	}
	b.note("%d tasks made, %d refused", b.made, b.refused)
	switch {
	case err != nil && b.sent > 0:
		return fmt.Errorf("after %d lines were sent: %w", b.sent, err)
	case err != nil:
		return err
	case b.refused > 0:
		return &exitError{code: ExitFailure, err: errors.New("some tasks were refused"), silent: true}
	}
	return nil
}

func (b *batch) read(ctx context.Context, in io.Reader) error {
	lines := bufio.NewScanner(in)
	lines.Buffer(make([]byte, 64<<10), maxPayload)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		switch {
		case len(line) == 0:
			continue
		case line[0] != '{' || !json.Valid(line):
			return usage(fmt.Errorf("%s, line %d: is no JSON object", b.file, n))
		case len(b.lines) == batchTasks || len(b.body)+len(line) > batchBytes && len(b.lines) > 0:
			if err := b.flush(ctx); err != nil {
				return err
			}
		}
		if len(b.lines) > 0 {
			b.body = append(b.body, ',')
		}
		b.body, b.lines = append(b.body, line...), append(b.lines, n)
	}
	if err := lines.Err(); err != nil {
		return usage(fmt.Errorf("read %s: %w", b.file, err))
	}
	return nil
}

// flush sends what was read.
func (b *batch) flush(ctx context.Context) error {
	if len(b.lines) == 0 {
		return nil
	}
	body := append(append([]byte(`{"tasks":[`), b.body...), `]}`...)
	answer, raw, err := fetch[apiv1.BatchAnswer](ctx, b.client, request{method: http.MethodPost, path: "/v1/tasks/batch", query: b.withApp(nil), body: body, idempotency: rand.Text()})
	if err != nil {
		return err
	}
	if len(answer.Items) != len(b.lines) {
		return fmt.Errorf("%d tasks were sent and %d answered", len(b.lines), len(answer.Items))
	}
	b.sent += len(b.lines)
	if b.json() {
		err = b.printItems(raw)
	}
	for i, item := range answer.Items {
		if item.Error != nil {
			b.refused++
			_, _ = fmt.Fprintln(b.Err, printableLines(fmt.Sprintf("%s, line %d: %s", b.file, b.lines[i], (&apiError{status: item.Error.Status, problem: *item.Error}).Error())))
			continue
		}
		b.made++
		if !b.json() && err == nil {
			err = b.outcome(item.Task.ID.String(), item.Task.State)
		}
	}
	b.body, b.lines = b.body[:0], b.lines[:0]
	if _, watched := isTerminal(b.Err); watched {
		_, _ = fmt.Fprintf(b.Err, "\r%d sent, %d refused\x1b[K", b.sent, b.refused)
	}
	return err
}

// printItems prints each item of an answer as one line.
func (b *batch) printItems(raw []byte) error {
	var items struct {
		Items []json.RawMessage `json:"items"`
	}
	if err := json.Unmarshal(raw, &items); err != nil {
		return err
	}
	for _, item := range items.Items {
		if err := b.printRaw(item); err != nil {
			return err
		}
	}
	return nil
}
