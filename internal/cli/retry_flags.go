package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// retryFlags say how failed attempts are spaced.
type retryFlags struct {
	policy    string
	base, cap time.Duration
	jitter    float64
	max       int64
	delays    []string
}

func (f *retryFlags) add(fs *pflag.FlagSet) {
	fs.Int64Var(&f.max, "retry-max", 0, "retries after the first run (default 3)")
	fs.DurationVar(&f.base, "retry-base", 0, "wait before the first retry (default 1s)")
	fs.DurationVar(&f.cap, "retry-cap", 0, "no wait is longer (default 1h)")
	fs.Float64Var(&f.jitter, "retry-jitter", 0, "spread waits by this share, 0 to 1 (default 0.2 for exponential)")
	fs.StringVar(&f.policy, "retry-policy", "", "fixed, linear, exponential or list (default exponential)")
	fs.StringSliceVar(&f.delays, "retry-delays", nil, "the waits of policy list, like 1s,10s,5m; the last one repeats")
}

// of is the policy that the flags say; nil when they say nothing.
func (f *retryFlags) of(changed func(string) bool) (*apiv1.Retry, error) {
	r, any := &apiv1.Retry{Policy: f.policy}, changed("retry-policy")
	millis := func(d time.Duration) *int64 { ms := d.Milliseconds(); return &ms }
	if changed("retry-max") {
		r.Max, any = &f.max, true
	}
	if changed("retry-base") {
		r.BaseMs, any = millis(f.base), true
	}
	if changed("retry-cap") {
		r.CapMs, any = millis(f.cap), true
	}
	if changed("retry-jitter") {
		r.Jitter, any = &f.jitter, true
	}
	if changed("retry-delays") {
		any = true
		for _, text := range f.delays {
			d, err := time.ParseDuration(strings.TrimSpace(text))
			if err != nil {
				return nil, usage(fmt.Errorf("--retry-delays: %q is no duration like 10s", text))
			}
			r.DelaysMs = append(r.DelaysMs, d.Milliseconds())
		}
		if r.Policy == "" {
			r.Policy = apiv1.RetryList
		}
	}
	if !any {
		return nil, nil
	}
	return r, nil
}
