package basic

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/internal/worker"
)

func TestSleepObeys(t *testing.T) {
	testkit.Bubble(t, func(t *testing.T) {
		at := time.Now()
		res := Sleep{}.Run(t.Context(), worker.Job{Payload: []byte(`{"ms": 604800000}`)})
		if res.Outcome != task.OutcomeSucceeded || res.Body != nil || time.Since(at) != 7*24*time.Hour {
			t.Errorf("%+v after %v", res, time.Since(at))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		at = time.Now()
		if res := (Sleep{}).Run(ctx, worker.Job{Payload: []byte(`{"ms":5000}`)}); res.Outcome == task.OutcomeSucceeded || time.Since(at) != time.Second {
			t.Errorf("%+v after %v", res, time.Since(at))
		}
		if res := (Sleep{}).Run(ctx, worker.Job{Payload: []byte(`{"ms":0}`)}); res.Outcome != task.OutcomeSucceeded {
			t.Errorf("0 returns at once: %+v", res)
		}
	})
}

func TestCheckSleep(t *testing.T) {
	for in, want := range map[string]string{
		`{"ms":0}`: "", ` {"ms": 604800000 } `: "", `{"ms":-1}`: "ms range", `{"ms":604800001}`: "ms range", `{"ms":1.5}`: "ms type",
		`{"ms":"1"}`: "ms type", `{"ms":99999999999999999999}`: "ms type", `{}`: "ms required", `{"ms":null}`: "ms required", `{"ms":1,"x":2}`: "x unknown_field",
		`null`: " type", `5`: " type", `{"ms":1`: " type", ``: " type", `{"ms":1} 2`: " type",
	} {
		got := ""
		if errs := CheckSleep([]byte(in)); len(errs) > 0 {
			got = errs[0].Field + " " + errs[0].Rule
		}
		if got != want {
			t.Errorf("%s: %q, want %q", in, got, want)
		}
		if want == "" {
			continue
		}
		if res := (Sleep{}).Run(t.Context(), worker.Job{Payload: []byte(in)}); !res.Permanent || res.ErrCode != "invalid_payload" {
			t.Errorf("%s: %+v", in, res)
		}
	}
}

func TestEchoAnswersItsPayload(t *testing.T) {
	for _, p := range []string{`null`, `{"a" : 1}`, `"x"`} {
		if res := (Echo{}).Run(t.Context(), worker.Job{Payload: []byte(p)}); res.Outcome != task.OutcomeSucceeded || string(res.Body) != p {
			t.Errorf("%s: %+v", p, res)
		}
	}
	if res := (Echo{}).Run(t.Context(), worker.Job{Payload: bytes.Repeat([]byte("1"), 100<<10)}); len(res.Body) != task.MaxResult || !res.Truncated {
		t.Errorf("%d bytes, cut %v", len(res.Body), res.Truncated)
	}
}

func FuzzCheckSleep(f *testing.F) {
	f.Add([]byte(`{"ms":5}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		ms, wrong := decodeSleep(raw)
		if wrong == nil && (ms < 0 || ms > MaxSleepMs) {
			t.Errorf("%d ms accepted", ms)
		}
	})
}
