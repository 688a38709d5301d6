package cli

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// maxPayload is more than any server takes; it bounds what is read from a file or standard input.
const maxPayload = 16 << 20

// submitFlags are the flags of tasks submit.
type submitFlags struct {
	queue, payload, priority, runAt, timeout, unique, completion, idempotency string
	delay, retryBase                                                          time.Duration
	retryMax                                                                  int64
	retryPolicy                                                               string
	labels                                                                    []string
	wait                                                                      bool
}

func (p *program) submit() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use: "submit KIND", Short: "Submit a task", Args: arguments(1, 1, "a kind: http, callback, shell, sleep, echo or one that a worker declared"),
		Example: `  taskweir tasks submit http --payload '{"url": "https://example.org/hook", "body": {"a": 1}}'
  taskweir tasks submit echo --payload @payload.json --delay 2s --wait
  date | jq -R | taskweir tasks submit echo --payload - --label source=cron`,
	}
	fs := cmd.Flags()
	fs.StringVar(&f.queue, "queue", "", "the queue (default \"default\")")
	fs.StringVar(&f.payload, "payload", "", "JSON, @file, or - for standard input (default null)")
	fs.StringVar(&f.priority, "priority", "", "high, normal or low (default normal)")
	fs.DurationVar(&f.delay, "delay", 0, "start after this time, like 90s or 24h")
	fs.StringVar(&f.runAt, "run-at", "", "start at this time, RFC 3339 with zone")
	fs.StringVar(&f.timeout, "timeout", "", "how long it may run, like 30s, or none (default 1m)")
	fs.Int64Var(&f.retryMax, "retry-max", 0, "retries after the first run (default 3)")
	fs.DurationVar(&f.retryBase, "retry-base", 0, "wait before the first retry (default 1s)")
	fs.StringVar(&f.retryPolicy, "retry-policy", "", "fixed, linear or exponential (default exponential)")
	fs.StringVar(&f.completion, "completion-url", "", "URL that gets a signed POST when the task is final")
	fs.StringVar(&f.unique, "unique-key", "", "refuse while another task with this key is not final")
	fs.StringArrayVar(&f.labels, "label", nil, "key=value, may be repeated")
	fs.StringVar(&f.idempotency, "idempotency-key", "", "the same key within 24 h gives the same task (default: random)")
	fs.BoolVar(&f.wait, "wait", false, "wait until the task is final; exit code 1 unless it succeeded")
	_ = cmd.RegisterFlagCompletionFunc("priority", cobra.FixedCompletions([]string{"high", "normal", "low"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		s, err := p.submission(args[0], &f, cmd.Flags().Changed)
		if err != nil {
			return err
		}
		return p.send(ctx, c, s, &f)
	})
	return cmd
}

// submission turns flags into a request. Rules of the API are left to the API, which names field and rule.
func (p *program) submission(kind string, f *submitFlags, changed func(string) bool) (*apiv1.Submit, error) {
	s := &apiv1.Submit{Kind: kind, Queue: f.queue, Priority: f.priority, UniqueKey: f.unique, CompletionURL: f.completion}
	var err error
	if changed("payload") {
		if s.Payload, err = p.payload(f.payload); err != nil {
			return nil, err
		}
	}
	if changed("delay") && changed("run-at") {
		return nil, usage(errors.New("--delay and --run-at say the same: keep one"))
	}
	if changed("delay") {
		ms := f.delay.Milliseconds()
		s.DelayMs = &ms
	}
	if changed("run-at") {
		at, err := apiv1.ParseTime(f.runAt)
		if err != nil {
			return nil, usage(fmt.Errorf("--run-at: %w", err))
		}
		s.RunAt = &at
	}
	if changed("timeout") {
		ms := int64(-1)
		if f.timeout != "none" {
			d, err := time.ParseDuration(f.timeout)
			if err != nil {
				return nil, usage(fmt.Errorf("--timeout: %q is no duration like 30s, 5m or none", f.timeout))
			}
			ms = d.Milliseconds()
		}
		s.TimeoutMs = &ms
	}
	s.Retry = f.retry(changed)
	for _, l := range f.labels {
		k, v, ok := strings.Cut(l, "=")
		if !ok {
			return nil, usage(fmt.Errorf("--label: %q is not key=value", l))
		}
		if s.Labels == nil {
			s.Labels = map[string]string{}
		}
		s.Labels[k] = v
	}
	return s, nil
}

func (f *submitFlags) retry(changed func(string) bool) *apiv1.Retry {
	if !changed("retry-max") && !changed("retry-base") && !changed("retry-policy") {
		return nil
	}
	r := &apiv1.Retry{Policy: f.retryPolicy}
	if changed("retry-max") {
		r.Max = &f.retryMax
	}
	if changed("retry-base") {
		ms := f.retryBase.Milliseconds()
		r.BaseMs = &ms
	}
	return r
}

// payload reads JSON from the flag itself, from a file or from standard input, and leaves its bytes alone.
func (p *program) payload(flag string) (json.RawMessage, error) {
	raw, err := []byte(flag), error(nil)
	switch {
	case flag == "-":
		raw, err = io.ReadAll(io.LimitReader(p.In, maxPayload+1))
	case strings.HasPrefix(flag, "@"):
		raw, err = readFile(flag[1:])
	}
	switch {
	case err != nil:
		return nil, usage(fmt.Errorf("--payload: %w", err))
	case len(raw) > maxPayload:
		return nil, usage(fmt.Errorf("--payload: larger than %d MiB", maxPayload>>20))
	case !json.Valid(raw):
		return nil, usage(errors.New("--payload: is no JSON (a text is written with quotes: '\"text\"')"))
	}
	return json.RawMessage(strings.TrimSpace(string(raw))), nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPayload+1))
}

// send submits, repeated safely under one idempotency key, and waits if asked to.
func (p *program) send(ctx context.Context, c *client, s *apiv1.Submit, f *submitFlags) error {
	if f.idempotency == "" {
		f.idempotency = rand.Text()
	}
	body, err := s.AppendJSON(nil)
	if err != nil {
		return fmt.Errorf("encode request: %w", err)
	}
	t, raw, err := fetch[apiv1.Task](ctx, c, request{method: http.MethodPost, path: "/v1/tasks", body: body, idempotency: f.idempotency})
	if err != nil {
		return err
	}
	if !f.wait {
		if p.json() {
			return p.printRaw(raw)
		}
		_, err = fmt.Fprintf(p.Out, "%s %s\n", t.ID, t.State)
		return err
	}
	if !p.json() {
		_, _ = fmt.Fprintf(p.Err, "%s %s\n", t.ID, t.State)
	}
	return p.await(ctx, c, t)
}

// await asks again and again until a task is final, and prints it. The task is stored, so a server that is away for a moment
// does not end it.
func (p *program) await(ctx context.Context, c *client, t apiv1.Task) error {
	raw := []byte(nil)
	for raw == nil || !apiv1.Final(t.State) {
		now, answer, err := fetch[apiv1.Task](ctx, c, get("/v1/tasks/"+t.ID.String(), waitQuery(30*time.Second)))
		if err == nil {
			t, raw = now, answer
			continue
		}
		if ctx.Err() != nil || exitCode(err) != ExitUnavailable {
			return err
		}
		if err := c.pause(ctx, time.Second); err != nil {
			return err
		}
	}
	err := error(nil)
	if p.json() {
		err = p.printRaw(raw)
	} else {
		err = p.printTask(t)
	}
	if err == nil && t.State != apiv1.StateSucceeded {
		err = &exitError{code: ExitFailure, err: errors.New("the task did not succeed"), silent: true}
	}
	return err
}
