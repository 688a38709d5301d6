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
	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// maxPayload is more than any server takes; it bounds what is read from a file or standard input.
const maxPayload = 16 << 20

// submitFlags are the flags of tasks submit.
type submitFlags struct {
	queue, payload, priority, runAt, expiresAt, timeout, limitKey, completion, idempotency, file string
	unique, uniqueScope, uniqueConflict                                                          string
	delay, uniqueWindow                                                                          time.Duration
	retry                                                                                        retryFlags
	labels                                                                                       []string
	wait                                                                                         bool
}

func (p *program) submit() *cobra.Command {
	var f submitFlags
	cmd := &cobra.Command{
		Use: "submit KIND", Short: "Submit a task", Args: arguments(0, 1, ""), ValidArgsFunction: p.complete(completeKinds),
		Example: `  taskweir tasks submit http --payload '{"url": "https://example.org/hook", "body": {"a": 1}}'
  taskweir tasks submit echo --payload @payload.json --delay 2s --wait
  date | jq -R | taskweir tasks submit echo --payload - --label source=cron
  taskweir tasks submit --file task.json`,
	}
	f.add(cmd.Flags())
	cmd.Flags().StringVarP(&f.file, "file", "f", "", "the whole request as JSON, a file or - for standard input")
	f.complete(p, cmd)
	cmd.RunE = p.connected(func(ctx context.Context, c *client, args []string) error {
		body, err := p.submitBody(&f, args, cmd.Flags())
		if err != nil {
			return err
		}
		return p.sendTask(ctx, c, body, &f)
	})
	return cmd
}

func (f *submitFlags) add(fs *pflag.FlagSet) {
	fs.StringVar(&f.queue, "queue", "", "the queue (default \"default\")")
	fs.StringVar(&f.payload, "payload", "", "JSON, @file, or - for standard input (default null)")
	fs.StringVar(&f.priority, "priority", "", "high, normal or low (default normal)")
	fs.DurationVar(&f.delay, "delay", 0, "start after this time, like 90s or 24h")
	fs.StringVar(&f.runAt, "run-at", "", "start at this time, RFC 3339 with zone")
	fs.StringVar(&f.expiresAt, "expires-at", "", "fail it unless it has started by this time, RFC 3339 with zone")
	fs.StringVar(&f.timeout, "timeout", "", "how long it may run, like 30s, or none (default 1m)")
	f.retry.add(fs)
	fs.StringVar(&f.completion, "completion-url", "", "URL that gets a signed POST when the task is final")
	fs.StringVar(&f.unique, "unique-key", "", "one task at a time has this key; see --unique-on-conflict")
	fs.StringVar(&f.uniqueScope, "unique-scope", "", "how long it has the key: until_due, until_started, until_finished, window or forever (default until_finished)")
	fs.DurationVar(&f.uniqueWindow, "unique-window", 0, "how long, with --unique-scope window")
	fs.StringVar(&f.uniqueConflict, "unique-on-conflict", "", "reject, keep (give the other task) or replace (what has not started) (default reject)")
	fs.StringVar(&f.limitKey, "limit-key", "", "share the limits of this key (taskweir limit-keys)")
	fs.StringArrayVar(&f.labels, "label", nil, "key=value, may be repeated")
	fs.StringVar(&f.idempotency, "idempotency-key", "", "the same key within 24 h gives the same task (default: random)")
	fs.BoolVar(&f.wait, "wait", false, "wait until the task is final; exit code 8 when it failed, 9 when it was cancelled")
}

func (f *submitFlags) complete(p *program, cmd *cobra.Command) {
	for flag, values := range map[string][]string{
		"priority":           {"high", "normal", "low"},
		"retry-policy":       {"fixed", "linear", "exponential", "list"},
		"unique-scope":       {"until_due", "until_started", "until_finished", "window", "forever"},
		"unique-on-conflict": {"reject", "keep", "replace"},
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	}
	_ = cmd.RegisterFlagCompletionFunc("queue", p.complete(completeQueues))
	_ = cmd.RegisterFlagCompletionFunc("limit-key", p.complete(completeLimitKeys))
}

// submitBody is the request: a file, byte for byte, or what the flags say.
func (p *program) submitBody(f *submitFlags, args []string, fs *pflag.FlagSet) ([]byte, error) {
	if f.file == "" {
		if len(args) == 0 {
			return nil, usage(errors.New("taskweir tasks submit needs a kind: http, callback, shell, sleep, echo or one that a worker declared (taskweir kinds)\n  see: taskweir tasks submit --help"))
		}
		s, err := p.submission(args[0], f, fs.Changed)
		if err != nil {
			return nil, err
		}
		return s.AppendJSON(nil)
	}
	var other []string
	own := pflag.NewFlagSet("", pflag.ContinueOnError)
	new(submitFlags).add(own)
	own.VisitAll(func(x *pflag.Flag) {
		if x.Name != "wait" && x.Name != "idempotency-key" && fs.Changed(x.Name) {
			other = append(other, "--"+x.Name)
		}
	})
	if len(args) > 0 || len(other) > 0 {
		return nil, usage(fmt.Errorf("--file says everything: leave out %s", strings.Join(append(args, other...), ", ")))
	}
	return p.document(f.file)
}

// submission turns flags into a request. Rules of the API are left to the API, which names field and rule.
func (p *program) submission(kind string, f *submitFlags, changed func(string) bool) (*apiv1.Submit, error) {
	s := &apiv1.Submit{Kind: kind, Queue: f.queue, Priority: f.priority, UniqueKey: f.unique, UniqueScope: f.uniqueScope, UniqueOnConflict: f.uniqueConflict,
		LimitKey: f.limitKey, CompletionURL: f.completion}
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
	if changed("unique-window") {
		ms := f.uniqueWindow.Milliseconds()
		s.UniqueWindowMs = &ms
	}
	for _, x := range []struct {
		flag, text string
		to         **apiv1.Time
	}{{"run-at", f.runAt, &s.RunAt}, {"expires-at", f.expiresAt, &s.ExpiresAt}} {
		if !changed(x.flag) {
			continue
		}
		at, err := apiv1.ParseTime(x.text)
		if err != nil {
			return nil, usage(fmt.Errorf("--%s: %w", x.flag, err))
		}
		*x.to = &at
	}
	if changed("timeout") {
		if s.TimeoutMs, err = timeoutFlag(f.timeout); err != nil {
			return nil, err
		}
	}
	if s.Retry, err = f.retry.of(changed); err != nil {
		return nil, err
	}
	s.Labels, err = keyValues("label", f.labels)
	return s, err
}

func timeoutFlag(text string) (*int64, error) {
	ms := int64(-1)
	if text != "none" {
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 { // -1 ms would be none
			return nil, usage(fmt.Errorf("--timeout: %q is no duration like 30s, 5m or none", text))
		}
		ms = d.Milliseconds()
	}
	return &ms, nil
}

func keyValues(flag string, pairs []string) (map[string]string, error) {
	var out map[string]string
	for _, pair := range pairs {
		k, v, ok := strings.Cut(pair, "=")
		if !ok {
			return nil, usage(fmt.Errorf("--%s: %q is not key=value", flag, pair))
		}
		if out == nil {
			out = map[string]string{}
		}
		out[k] = v
	}
	return out, nil
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

// document reads a request from a file or from standard input.
func (p *program) document(file string) ([]byte, error) {
	if file != "-" {
		file = "@" + file
	}
	raw, err := p.payload(file)
	if err != nil {
		return nil, usage(fmt.Errorf("--file: %s", strings.TrimPrefix(err.Error(), "--payload: ")))
	}
	return raw, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxPayload+1))
}

// sendTask submits, repeated safely under one idempotency key, and waits if asked to.
func (p *program) sendTask(ctx context.Context, c *client, body []byte, f *submitFlags) error {
	if f.idempotency == "" {
		f.idempotency = rand.Text()
	}
	t, raw, err := fetch[apiv1.Task](ctx, c, request{method: http.MethodPost, path: "/v1/tasks", query: p.withApp(nil), body: body, idempotency: f.idempotency})
	switch {
	case err != nil:
		return err
	case f.wait:
		if !p.json() {
			p.note("%s %s", t.ID, t.State)
		}
		return p.await(ctx, c, t)
	case p.json():
		return p.printRaw(raw)
	}
	return p.outcome(t.ID.String(), t.State)
}
