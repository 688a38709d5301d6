package apiv1_test

import (
	"encoding/json"
	"testing"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// FuzzID holds ids against their meaning: whatever way one is written in JSON, it is that of its text, and it is written back so
// that it is read as itself.
func FuzzID(f *testing.F) {
	for _, s := range []string{"1", "9007199254740991", "9007199254740992", "0", "-1", "+1", "007", "1e3", " 1", "\"1\"", "null", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		want, err := apiv1.ParseID(s)
		if err == nil && (want < 1 || want >= 1<<53) {
			t.Fatalf("%q is %d", s, want)
		}
		if again, e := apiv1.ParseID(want.String()); err == nil && (e != nil || again != want) {
			t.Fatalf("%q is written as %s, which is %v, %v", s, want, again, e)
		}
		quoted, _ := json.Marshal(s)
		for _, raw := range [][]byte{quoted, []byte(s)} {
			var got apiv1.ID
			if e := json.Unmarshal(raw, &got); e == nil && got != 0 {
				if back, e := json.Marshal(got); e != nil || string(back) != `"`+got.String()+`"` {
					t.Fatalf("%d is written as %s, %v", got, back, e)
				}
			}
		}
		var got apiv1.ID
		if e := json.Unmarshal(quoted, &got); (e == nil) != (err == nil) || err == nil && got != want {
			t.Fatalf("in JSON %s is %d, %v; as text it is %d, %v", quoted, got, e, want, err)
		}
	})
}

// FuzzTime holds instants against their meaning: what is read is written so that it is read as the same instant, and no text
// moves it forward.
func FuzzTime(f *testing.F) {
	for _, s := range []string{"2030-01-02T15:04:05.000Z", "2030-01-02T15:04:05.0000001+14:00", "9999-12-31T23:59:59.9999Z", "0000-01-01T00:00:00+01:00", "1970-01-01T00:00:00Z", "2030-02-30T00:00:00Z", "x", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		at, err := apiv1.ParseTime(s)
		var got apiv1.Time
		quoted, _ := json.Marshal(s)
		if e := json.Unmarshal(quoted, &got); (e == nil) != (err == nil) || got != at {
			t.Fatalf("in JSON %s is %d, %v; as text it is %d, %v", quoted, got, e, at, err)
		}
		if err != nil {
			return
		}
		if again, e := apiv1.ParseTime(at.String()); e != nil || again != at {
			t.Fatalf("%q is written as %s, which is %d, %v", s, at, again, e)
		}
		if back, e := json.Marshal(at); e != nil || json.Unmarshal(back, &got) != nil || got != at {
			t.Fatalf("%q is written as %s, which is %d; %v", s, back, got, e)
		}
	})
}
