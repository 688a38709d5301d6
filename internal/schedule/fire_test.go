package schedule

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/task"
)

func TestTemplates(t *testing.T) {
	const name = "a \"quoted\" \\ name\n"
	for in, want := range map[string]string{
		`null`:                             `null`,
		`{"a":{"b":{}}}`:                   `{"a":{"b":{}}}`,
		`{"at":"{{slot}}"}`:                `{"at":"2026-03-02T00:00:00.000Z"}`,
		`{"at":"{{ slot }} and {{slot}}"}`: `{"at":"2026-03-02T00:00:00.000Z and 2026-03-02T00:00:00.000Z"}`,
		`["{{slotUnix}}"]`:                 `["1772409600"]`,
		` {"n" : "{{schedule.name}}" } `:   ` {"n" : "a \"quoted\" \\ name\n" } `,
		`{"\"{{slotUnix}}":1.50}`:          `{"\"1772409600":1.50}`,
		`"\\{{slotUnix}}"`:                 `"\\1772409600"`,
		`"{ {slot} }}"`:                    `"{ {slot} }}"`,
	} {
		if msg := CheckTemplate([]byte(in)); msg != "" {
			t.Errorf("%s: refused: %s", in, msg)
		}
		got, err := render([]byte(in), name, t0)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s, %v, want %s", in, got, err, want)
		}
	}
	for in, want := range map[string]string{
		`"{{now}}"`:           "{{now}} is unknown",
		`"{{}}"`:              "{{}} is unknown",
		`"{{slot"`:            "not closed",
		`"{{slot}"`:           "not closed",
		`"{{slot","}}"`:       "not closed",
		`"{{Slot}}"`:          "{{Slot}} is unknown",
		`"{{schedule.name }"`: "not closed",
	} {
		if msg := CheckTemplate([]byte(in)); !strings.Contains(msg, want) {
			t.Errorf("%s: %q, want %q", in, msg, want)
		}
	}
}

func definition() *Definition {
	p := task.DefaultRetry()
	p.Max = 9
	return &Definition{Spec: cron.Spec{Cron: "0 3 * * *", Dialect: "unix"}, Zone: "Europe/Berlin", DSTGap: "shift", DSTOverlap: "both",
		Misfire: MisfireAll, MaxAgeMs: 7, Overlap: CancelPrevious, JitterMs: 5, StartAt: 1, EndAt: 1 << 50, MaxFailures: 3,
		Labels: map[string]string{"team": "a"},
		Task: Template{Kind: "http", KindID: 3, Queue: "q", Priority: task.High, LaneID: 4, TimeoutMs: 1000, Flags: task.HasUnique | task.HasLabels,
			Head:       task.BodyHead{Retry: &p, UniqueKey: "k", UniqueScope: task.ScopeForever, Labels: map[string]string{"b": "2", "a": "1"}},
			OnConflict: task.OnConflictKeep, Payload: []byte("{ \"url\" : \"http://x/{{slotUnix}}\" }")}}
}

func TestDefinitionsSurviveTheirStoredForm(t *testing.T) {
	d := definition()
	raw, err := d.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeDefinition(raw)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, d) {
		t.Errorf("got  %+v\nwant %+v", got, d)
	}
}

func FuzzDecodeDefinition(f *testing.F) {
	raw, err := definition().Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte{1, 2, '{', '}'})
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := DecodeDefinition(raw)
		if err != nil {
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeDefinition(again); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzTemplate: what is accepted at save renders, and does not change where strings begin and end.
func FuzzTemplate(f *testing.F) {
	f.Add([]byte(`{"a":"{{slot}}","b":"\"{{slotUnix}}"}`))
	f.Add([]byte(`"{{schedule.name}}"`))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if CheckTemplate(payload) != "" {
			return
		}
		out, err := render(payload, `x"y\`, t0)
		if err != nil {
			t.Fatalf("accepted, but: %v", err)
		}
		if bytes.Contains(payload, []byte("{{")) {
			return
		}
		if !bytes.Equal(out, payload) {
			t.Errorf("%q became %q", payload, out)
		}
	})
}

func TestAShotIsATask(t *testing.T) {
	d := definition()
	tt, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	row := &Row{ID: 17, AppID: 2, Name: "nightly"}
	shot := tt.Shot(row, Slot{Origin: Planned, At: t0, LastAt: t0, Count: 1, Outcome: Fired}, 99)
	s := shot.Sub
	if s == nil || shot.ScheduleID != 17 {
		t.Fatalf("%+v", shot)
	}
	body, err := task.DecodeBody(s.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(body.Payload) != "{ \"url\" : \"http://x/1772409600\" }" || body.Head.ScheduleID != 17 || body.Head.SlotAt != t0 || body.Head.Retry.Max != 9 {
		t.Errorf("%s %+v", body.Payload, body.Head)
	}
	if s.ID != 99 || s.AppID != 2 || s.LaneID != 4 || s.KindID != 3 || s.TimeoutMs != 1000 || !s.Flags.Has(task.TracksSchedule|task.HasUnique|task.HasLabels) ||
		s.DueAt != t0+Jitter(17, t0, 5) || s.Unique == nil || s.Unique.OnConflict != task.OnConflictKeep || s.Unique.Scope != task.ScopeForever ||
		!reflect.DeepEqual(s.Labels, []task.Label{{Key: "a", Value: "1"}, {Key: "b", Value: "2"}}) {
		t.Errorf("%+v", s)
	}
	if s := tt.Shot(row, Slot{Origin: Manual, At: t0, Outcome: Fired}, 99).Sub; s.DueAt != 0 {
		t.Errorf("a manual run is due at %d, not now", s.DueAt)
	}
	if d.Overlap, d.MaxFailures = Allow, 0; tt.Shot(row, Slot{At: t0, Outcome: Fired}, 1).Sub.Flags.Has(task.TracksSchedule) {
		t.Error("a schedule that needs no ends pays for them")
	}
	if shot := tt.Shot(row, Slot{At: t0, Outcome: SkippedMisfire}, 1); shot.Sub != nil || shot.Outcome != SkippedMisfire {
		t.Errorf("%+v", shot)
	}
}

func TestATemplateThatFailsMakesAFailedSlotWithTheReason(t *testing.T) {
	d := definition()
	d.Task.Payload = []byte(`"` + strings.Repeat("{{slot}}", task.MaxPayload/9) + `"`) // fits at save, not with its templates filled
	tt, err := Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	shot := tt.Shot(&Row{ID: 1}, Slot{At: t0, Outcome: Fired}, 1)
	if shot.Outcome != FailedTemplate || shot.Sub != nil || !strings.Contains(shot.Detail, "more than 262144") || len(shot.Detail) > 255 {
		t.Errorf("%+v", shot)
	}
}

func TestJitter(t *testing.T) {
	var buckets [10]int
	for slot := range int64(10_000) {
		j := Jitter(5, t0+slot*60_000, 999)
		if j < 0 || j > 999 || j != Jitter(5, t0+slot*60_000, 999) {
			t.Fatal(j)
		}
		buckets[j/100]++
	}
	for i, n := range buckets {
		if n < 800 || n > 1200 {
			t.Errorf("bucket %d has %d of 10,000", i, n)
		}
	}
	if Jitter(5, t0, 0) != 0 {
		t.Error("no jitter was asked for")
	}
}

func TestFailuresInARow(t *testing.T) {
	n, stop := 0, false
	for i, c := range []struct {
		state task.State
		n     int
		stop  bool
	}{{task.Failed, 1, false}, {task.Failed, 2, false}, {task.Cancelled, 2, false}, {task.Succeeded, 0, false},
		{task.Failed, 1, false}, {task.Failed, 2, false}, {task.Failed, 3, true}} {
		if n, stop = AfterRun(n, c.state, 3); n != c.n || stop != c.stop {
			t.Errorf("run %d: %d %v", i, n, stop)
		}
	}
	if _, stop := AfterRun(1000, task.Failed, 0); stop {
		t.Error("stopped without a limit")
	}
}

func TestNames(t *testing.T) {
	for _, o := range []Overlap{Allow, Skip, Queue, CancelPrevious} {
		if got, ok := ParseOverlap(o.String()); !ok || got != o {
			t.Error(o)
		}
	}
	for _, m := range []Misfire{MisfireOnce, MisfireSkip, MisfireAll} {
		if got, ok := ParseMisfire(m.String()); !ok || got != m {
			t.Error(m)
		}
	}
	if _, ok := ParseOverlap("never"); ok {
		t.Error("unknown overlap")
	}
	if _, ok := ParseMisfire("later"); ok {
		t.Error("unknown misfire")
	}
	if Outcome(99).String() != "unknown_99" || PausedFailures.String() != "failures" {
		t.Error("names")
	}
}
