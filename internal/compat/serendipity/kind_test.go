package serendipity

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/task"
)

func shanghai(t testing.TB) *time.Location {
	zone, err := time.LoadLocation("Asia/Shanghai")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}

func TestKinds(t *testing.T) {
	a := &api{classes: map[string]string{`Ns\\Job`: "whole", "Job": "last", "Plain": "plain"}}
	for content, want := range map[string]string{
		`{"class":"\\\\Ns\\\\Job"}`: "whole", `{"class":"Ns\\\\Job","class":1}`: Kind, `{"x":{"class":"Plain"},"class":"Other\\\\Job"}`: "last", `{"class":"Plain"}`: "plain",
		`{"class":"plain"}`: Kind, `{"class":""}`: Kind, `{"class":"\\\\"}`: Kind, `{"class":["Plain"]}`: Kind, `["class","Plain"]`: Kind, `"Plain"`: Kind, `null`: Kind, `{}`: Kind,
	} {
		if got := a.kindOf([]byte(content)); got != want {
			t.Errorf("%s: %s, want %s", content, got, want)
		}
	}
	if got := (&api{}).kindOf([]byte(`{"class":"Plain"}`)); got != Kind {
		t.Error(got)
	}
}

// FuzzTask: whatever parameters come, reading them ends, and what is taken keeps the rules of the surface.
func FuzzTask(f *testing.F) {
	f.Add(`{"taskNo":"a","content":{"class":"Job"},"name":"n","timeout":"5"}`)
	f.Add(`taskNo[]=1&content=%7B%7D&name=n&timeout=-1`)
	f.Add(`{"taskNo":1e3,"content":"[1]","name":true,"timeout":1.0,"runtime":"2021-03-05 12:00:00","step":99999999999999999999}`)
	f.Fuzz(func(t *testing.T, body string) {
		p, err := compat.Decode("", []byte(body))
		if err != nil {
			return
		}
		a := &api{classes: map[string]string{"Job": "job"}, zone: shanghai(t)}
		if in, err := a.taskInput(call{params: p}); err == nil {
			name := in.Name
			if n := utf8.RuneCountInString(in.UniqueKey.V); n < 1 || n > maxTaskNo || name == "" || utf8.RuneCountInString(name) > maxName || strings.ContainsRune(name, 0) ||
				in.TimeoutMs.V < 1 || in.TimeoutMs.V > task.MaxTimeoutMs || in.Kind != Kind && in.Kind != "job" || len(in.Payload) == 0 {
				t.Fatalf("%q: %+v", body, in)
			}
		}
		for _, v := range []string{"coroutine_id", "id", "task_id"} {
			if n, given, err := number(p.Get(v)); err == nil && given && n < 1 {
				t.Fatalf("%q: %d", body, n)
			}
		}
	})
}
