package workertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
)

// AssertSucceeded fails the test unless the task has succeeded.
func (t *Task) AssertSucceeded() {
	t.kit.t.Helper()
	if t.State != "succeeded" {
		t.kit.t.Errorf("want succeeded, is %s", t)
	}
}

// AssertFailed fails the test unless the task has failed and its last attempt's error has this code.
func (t *Task) AssertFailed(code string) {
	t.kit.t.Helper()
	if t.State != "failed" || t.last().Code != code {
		t.kit.t.Errorf("want failed with code %s, is %s", code, t)
	}
}

// AssertPermanent fails the test unless the task has failed with this code and no retry was possible.
func (t *Task) AssertPermanent(code string) {
	t.kit.t.Helper()
	if t.State != "failed" || t.Reason != "permanent" || t.last().Code != code {
		t.kit.t.Errorf("want failed for good with code %s, is %s", code, t)
	}
}

// AssertCancelled fails the test unless the task was cancelled.
func (t *Task) AssertCancelled() {
	t.kit.t.Helper()
	if t.State != "cancelled" {
		t.kit.t.Errorf("want cancelled, is %s", t)
	}
}

// AssertOutcomes fails the test unless the attempts had these outcomes, oldest first.
func (t *Task) AssertOutcomes(want ...string) {
	t.kit.t.Helper()
	got := make([]string, len(t.Attempts))
	for i, a := range t.Attempts {
		got[i] = a.Outcome
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.kit.t.Errorf("want attempts %v, is %s", want, t)
	}
}

// AssertResult fails the test unless the task succeeded with a result that means the same JSON as want, encoded.
func (t *Task) AssertResult(want any) {
	t.kit.t.Helper()
	raw, err := json.Marshal(want)
	if err != nil {
		t.kit.t.Fatalf("workertest: the wanted result does not encode: %v", err)
	}
	if t.State != "succeeded" || !sameJSON(t.Result, raw) {
		t.kit.t.Errorf("want result %s, is %s", raw, t)
	}
}

// AssertLog fails the test unless some attempt's log contains the text.
func (t *Task) AssertLog(text string) {
	t.kit.t.Helper()
	for _, a := range t.Attempts {
		if strings.Contains(a.Log, text) {
			return
		}
	}
	t.kit.t.Errorf("no log contains %q, is %s", text, t)
}

// DecodeResult decodes the task's result into v, a pointer. A task without one fails the test.
func (t *Task) DecodeResult(v any) {
	t.kit.t.Helper()
	if err := json.Unmarshal(t.Result, v); err != nil {
		t.kit.t.Fatalf("workertest: no such result: %v; is %s", err, t)
	}
}

func (t *Task) last() Attempt {
	if len(t.Attempts) == 0 {
		return Attempt{}
	}
	return t.Attempts[len(t.Attempts)-1]
}

// String tells how the task went, with a line for each attempt.
func (t *Task) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "task %d of kind %s: %s %s", t.ID, t.Kind, t.State, t.Reason)
	if t.Result != nil {
		fmt.Fprintf(&b, ", result %.200s", t.Result)
	}
	for _, a := range t.Attempts {
		fmt.Fprintf(&b, "\n  epoch %d %s", a.Epoch, a.Outcome)
		if a.Code != "" {
			fmt.Fprintf(&b, ": %s: %s", a.Code, a.Message)
		}
		if a.RetryIn > 0 {
			fmt.Fprintf(&b, ", again in %s", a.RetryIn)
		}
		if a.Log != "" {
			fmt.Fprintf(&b, "\n    %s", strings.ReplaceAll(strings.TrimSpace(a.Log), "\n", "\n    "))
		}
	}
	return b.String()
}

// sameJSON compares two JSON values by what they mean; numbers by their text.
func sameJSON(a, b []byte) bool {
	va, errA := decode(a)
	vb, errB := decode(b)
	return errA == nil && errB == nil && reflect.DeepEqual(va, vb)
}

func decode(raw []byte) (v any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	err = d.Decode(&v)
	return v, err
}
