package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// FuzzFlags reads anything as the value of a flag: a rate, an age, a time, a timeout, a label. What is taken means one thing
// only, and what is refused is the user's mistake.
func FuzzFlags(f *testing.F) {
	for _, s := range []string{"none", "50/s", "100/1m", "5/100ms", "1/2d", "0/s", "/", "1/", "2h45m", "7d", "-1ms", "-1s", "36501d", "01d", "2030-01-02T15:04:05Z", "a=b", "=", "a", "9999999999/s", "1/0.5ms"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		rate, err := parseRate(text)
		switch {
		case err != nil && rate != nil, err == nil && (rate == nil) != (text == "none"):
			t.Fatalf("rate %q: %+v, %v", text, rate, err)
		case rate != nil:
			if again, err := parseRate(fmt.Sprintf("%d/%dms", rate.Tasks, rate.PerMs)); err != nil || *again != *rate || rate.PerMs < 1 {
				t.Fatalf("rate %q: %+v, then %+v, %v", text, rate, again, err)
			}
		}
		if d, err := ageFlag(text); err == nil && d < 0 {
			t.Fatalf("age %q: %v", text, d)
		}
		if ms, err := timeoutFlag(text); err == nil && (*ms < 0) != (text == "none") {
			t.Fatalf("timeout %q: %d ms", text, *ms)
		}
		now := apiv1.Time(1_900_000_000_000)
		at, err := flagTime("from", text, func() (apiv1.Time, error) { return now, nil })
		if exact, e := apiv1.ParseTime(text); e == nil && (err != nil || at != exact) || e != nil && err == nil && at > now {
			t.Fatalf("time %q: %v, %v", text, at, err)
		}
		pairs, err := keyValues("label", []string{text})
		if k, v, ok := strings.Cut(text, "="); ok != (err == nil) || ok && !maps.Equal(pairs, map[string]string{k: v}) {
			t.Fatalf("label %q: %q, %v", text, pairs, err)
		}
	})
}

// FuzzRawItem reads anything as an item of a list: its bytes are kept as they came, whatever the client knows of it.
func FuzzRawItem(f *testing.F) {
	for _, s := range []string{`{"id":"1","state":"queued","new":[1]}`, `{"id":1}`, "null", `"x"`, `{"id":"x"}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		var item rawItem[apiv1.Task]
		var plain apiv1.Task
		errItem, errPlain := json.Unmarshal(raw, &item), json.Unmarshal(raw, &plain)
		if (errItem == nil) != (errPlain == nil) {
			t.Fatalf("%q: %v as an item, %v as a task", raw, errItem, errPlain)
		}
		if errItem == nil && string(raw) != "null" && !json.Valid(item.raw) {
			t.Fatalf("%q is kept as %q", raw, item.raw)
		}
	})
}
