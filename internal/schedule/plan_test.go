package schedule

import (
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/cron"
)

const hour = 3_600_000

// t0 is 2026-03-02T00:00:00Z.
const t0 = 1772409600000

func table(t *testing.T, d Definition) *Timetable {
	t.Helper()
	if d.Zone == "" {
		d.Zone = "UTC"
	}
	if d.DSTGap == "" {
		d.DSTGap, d.DSTOverlap = "shift", "first"
	}
	tt, err := Compile(&d)
	if err != nil {
		t.Fatal(err)
	}
	return tt
}

// every is a schedule of slots each ms, on multiples of it.
func every(ms int64) cron.Spec { return cron.Spec{EveryMs: ms, Anchor: t0} }

// all plans until nothing is owed, at most limit rows at a time.
func all(t *testing.T, tt *Timetable, next, now int64, limit int) (slots []Slot, after int64) {
	t.Helper()
	for range 10_000 {
		p := tt.Plan(next, now, limit)
		if len(p.Slots) > limit {
			t.Fatalf("%d slots, limit %d", len(p.Slots), limit)
		}
		slots = append(slots, p.Slots...)
		if next = p.Next; !p.More {
			return slots, next
		}
	}
	t.Fatal("the plan does not end")
	return nil, 0
}

func TestSlotsAreAheadOnlyWhereOverlapIsAllowed(t *testing.T) {
	for o, want := range map[Overlap]int{Allow: 3, Skip: 1, Queue: 1, CancelPrevious: 1} {
		tt := table(t, Definition{Spec: every(1_000), Overlap: o, MaxAgeMs: DefaultMaxAgeMs})
		slots, next := all(t, tt, t0, t0, 100)
		if len(slots) != want || next != t0+int64(want)*1_000 {
			t.Errorf("%s: %d slots, next %+d", o, len(slots), next-t0)
		}
	}
}

func TestMisfirePolicies(t *testing.T) {
	// Down for an hour; a slot each minute; now is 30 s after the last of them. Nothing is within the grace but nothing else was due.
	const now = t0 + hour + 30_000
	for _, c := range []struct {
		policy        Misfire
		maxAge        int64
		fired, missed int64
		firstFired    int64
	}{
		{MisfireSkip, hour, 0, 61, 0},
		{MisfireOnce, hour, 1, 60, t0 + hour},
		{MisfireOnce, 29_000, 0, 61, 0},
		{MisfireOnce, 31_000, 1, 60, t0 + hour},
		{MisfireAll, 2 * hour, 61, 0, t0},
		{MisfireAll, 10 * 60_000, 10, 51, t0 + hour - 9*60_000},
		{MisfireAll, 0, 0, 61, 0},
	} {
		tt := table(t, Definition{Spec: every(60_000), Overlap: Skip, Misfire: c.policy, MaxAgeMs: c.maxAge})
		for _, limit := range []int{1, 7, 1000} {
			slots, next := all(t, tt, t0, now, limit)
			var fired, missed, first int64
			for _, s := range slots {
				if s.Outcome == Fired {
					if fired++; first == 0 {
						first = s.At
					}
				} else {
					missed += s.Count
				}
			}
			if fired != c.fired || missed != c.missed || first != c.firstFired || next != t0+hour+60_000 {
				t.Errorf("%s, %d ms, %d at a time: fired %d from %+d, missed %d, next %+d", c.policy, c.maxAge, limit, fired, first-t0, missed, next-t0)
			}
		}
	}
}

func TestSlotsWithinTheGraceFireWhateverThePolicy(t *testing.T) {
	for _, m := range []Misfire{MisfireOnce, MisfireSkip, MisfireAll} {
		tt := table(t, Definition{Spec: every(1_000), Overlap: Queue, Misfire: m})
		slots, _ := all(t, tt, t0, t0+GraceMs, 100)
		if len(slots) != 11 {
			t.Errorf("%s: %d slots", m, len(slots))
		}
		for _, s := range slots {
			if s.Outcome != Fired {
				t.Errorf("%s: the slot at %+d is %s", m, s.At-t0, s.Outcome)
			}
		}
	}
}

// TestEverySlotIsAccountedFor: whatever the downtime, policy and batch, the rows cover each planned slot once.
func TestEverySlotIsAccountedFor(t *testing.T) {
	for _, m := range []Misfire{MisfireOnce, MisfireSkip, MisfireAll} {
		for _, limit := range []int{1, 3, 500, 5_000} {
			for _, down := range []int64{0, 1, 10, 11, 999, 1_000, 1_011, 1_012, 1_013, 5_000} {
				tt := table(t, Definition{Spec: every(1_000), Overlap: Skip, Misfire: m, MaxAgeMs: 3_000_000})
				slots, next := all(t, tt, t0, t0+down*1_000, limit)
				at := int64(t0)
				for _, s := range slots {
					if s.At != at || s.LastAt != s.At+(s.Count-1)*1_000 || s.Count > 1 && s.Outcome != SkippedMisfire {
						t.Fatalf("%s, %d s, %d at a time: %+v where %+d was next", m, down, limit, s, at-t0)
					}
					at = s.LastAt + 1_000
				}
				if at != next || next != t0+(down+1)*1_000 {
					t.Errorf("%s, %d s, %d at a time: slots end at %+d, next is %+d", m, down, limit, at-t0, next-t0)
				}
			}
		}
	}
}

func TestALongDowntimeOfAFastScheduleIsOneRow(t *testing.T) {
	tt := table(t, Definition{Spec: every(1_000), Overlap: Skip, Misfire: MisfireOnce, MaxAgeMs: hour})
	slots, _ := all(t, tt, t0, t0+48*hour, 10_000)
	if len(slots) != 1+1+11 && len(slots) != 1+11 {
		t.Fatalf("%d rows", len(slots))
	}
	if slots[0].Count != 48*3600-11 || slots[1].Outcome != Fired || slots[1].Count != 1 {
		t.Errorf("%+v, %+v", slots[0], slots[1])
	}
}

func TestBounds(t *testing.T) {
	tt := table(t, Definition{Spec: every(60_000), StartAt: t0 + 60_000, EndAt: t0 + 180_000})
	if got := tt.Next(0); got != t0+60_000 {
		t.Errorf("first %+d: the start is included", got-t0)
	}
	if got := tt.Next(t0 + 60_000); got != t0+120_000 {
		t.Errorf("second %+d", got-t0)
	}
	if got := tt.Next(t0 + 120_000); got != Never {
		t.Errorf("third %+d: the end is excluded", got-t0)
	}
	if slots, more := tt.Between(t0, t0+hour, 10); fmt.Sprint(slots) != fmt.Sprint([]int64{t0 + 60_000, t0 + 120_000}) || more {
		t.Errorf("between %v %v", slots, more)
	}
	if slots, more := tt.Between(t0, t0+hour, 1); len(slots) != 1 || !more {
		t.Errorf("between %v %v", slots, more)
	}
	once := table(t, Definition{Spec: cron.Spec{At: t0}, MaxAgeMs: hour})
	if slots, next := all(t, once, t0, t0, 10); len(slots) != 1 || next != Never {
		t.Errorf("once: %v, next %d", slots, next)
	}
}

func TestAdmit(t *testing.T) {
	fire, hold, skip := Admission{Outcome: Fired}, Admission{Outcome: Held}, Admission{Outcome: SkippedOverlap}
	for _, c := range []struct {
		o          Overlap
		origin     int64
		open, held int
		want       Admission
	}{
		{Allow, Planned, 5, 0, fire},
		{Skip, Planned, 0, 0, fire},
		{Skip, Planned, 1, 0, skip},
		{Skip, Manual, 1, 0, skip},
		{Skip, Planned, 0, 1, skip}, // a backfill waits
		{Skip, FirstBackfill, 1, 0, hold},
		{Queue, Planned, 0, 0, fire},
		{Queue, Planned, 1, 0, hold},
		{Queue, Planned, 0, 1, hold}, // it would overtake
		{Queue, Planned, 1, MaxHeld, skip},
		{Queue, FirstBackfill, 1, MaxHeld, hold},
		{CancelPrevious, Planned, 0, 0, fire},
		{CancelPrevious, Planned, 1, 1, Admission{Outcome: Held, CancelOpen: true, DropHeld: true}},
		{CancelPrevious, FirstBackfill, 1, 0, hold},
	} {
		if got := Admit(c.o, c.origin, c.open, c.held); got != c.want {
			t.Errorf("%s, origin %d, %d open, %d held: %+v, want %+v", c.o, c.origin, c.open, c.held, got, c.want)
		}
	}
}
