package schedule_test

import (
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/testkit"
)

// A definition with a template that was not refused in its time, by another version, fails slot by slot.
func TestSaysOfTemplatesThatFail(t *testing.T) {
	testkit.Says(t, "A template that gives no valid task when the slot comes makes a `failed_template` slot with the reason in `detail`; the next slot is tried again.")
	d := &schedule.Definition{Spec: cron.Spec{Cron: "@daily"}, Zone: "UTC", Task: schedule.Template{Kind: "echo", Payload: []byte(`"{{date}}"`)}}
	table, err := schedule.Compile(d)
	if err != nil {
		t.Fatal(err)
	}
	row := schedule.Row{ID: 17, Name: "n"}
	for _, at := range []int64{86_400_000, 2 * 86_400_000} {
		shot := table.Shot(&row, schedule.Slot{Origin: schedule.Planned, At: at, Outcome: schedule.Fired}, 5)
		if shot.Sub != nil || shot.Outcome != schedule.FailedTemplate || !strings.Contains(shot.Detail, "{{date}} is unknown") {
			t.Errorf("%+v", shot)
		}
	}
	d.Task.Payload = []byte(`"` + strings.Repeat("{{slot}}", 12_000) + `"`)
	if shot := table.Shot(&row, schedule.Slot{At: 86_400_000, Outcome: schedule.Fired}, 5); shot.Sub != nil || !strings.Contains(shot.Detail, "more than 262144") {
		t.Errorf("%+v", shot.Slot)
	}
}

// What a preview lists is what a plan fires, slot for slot: both ask the same timetable, wherever a plan ends.
func FuzzPlanFollowsNext(f *testing.F) {
	f.Add("30 2 * * *", "Europe/Berlin", int64(1_774_000_000_000), uint16(400), uint8(7))
	f.Add("*/5 * * * *", "UTC", int64(1_774_000_000_000), uint16(30), uint8(1))
	f.Add("0 0 0 ? * 2#5", "America/New_York", int64(1_774_000_000_000), uint16(4_000), uint8(3))
	f.Fuzz(func(t *testing.T, expr, zone string, from int64, hours uint16, limit uint8) {
		table, err := schedule.Compile(&schedule.Definition{Spec: cron.Spec{Cron: expr}, Zone: zone, Misfire: schedule.MisfireAll, MaxAgeMs: 1 << 40, Overlap: schedule.Skip})
		if err != nil || from < 0 || from > 4_000_000_000_000 {
			return
		}
		until := from + int64(hours)*3_600_000
		at, n := table.Next(from), 0
		for p := (schedule.Plan{Next: at, More: true}); p.More; {
			p = table.Plan(p.Next, until, int(limit)+1)
			for _, s := range p.Slots {
				if s.At != at || s.Outcome != schedule.Fired {
					t.Fatalf("slot %+v, want one at %d", s, at)
				}
				at = table.Next(at)
			}
			if n += len(p.Slots); n > 2_000 {
				return
			}
			if p.Next != at {
				t.Fatalf("next is %d, want %d", p.Next, at)
			}
		}
	})
}
