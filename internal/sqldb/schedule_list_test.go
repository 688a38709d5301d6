package sqldb_test

import (
	"fmt"
	"testing"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

func TestListSchedules(t *testing.T) {
	eachWorld(t, func(w *world) {
		var ids []int64
		for i := range 7 {
			r := w.rule(fmt.Sprint("n", i), nil)
			ids = append(ids, r.ID)
			if i%2 == 0 {
				after := r.Row
				after.Pause, after.NextAt = schedule.PausedByUser, schedule.Never
				w.must2(first2(w.s.ChangeSchedule(w.ctx, r.Row, after, w.now(), nil)))
			}
		}
		other := w.newRow("n1", w.definition(nil))
		other.AppID = 2
		_, _, _, err := w.s.CreateSchedule(w.ctx, other, nil, nil)
		w.must(err)
		yes, no := true, false
		for what, x := range map[string]struct {
			f    schedule.Filter
			want []int64
		}{
			"all":              {schedule.Filter{Limit: 3}, []int64{other.ID, ids[6], ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
			"an app":           {schedule.Filter{AppID: 1, Limit: 7}, []int64{ids[6], ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]}},
			"paused":           {schedule.Filter{AppID: 1, Paused: &yes, Limit: 3}, []int64{ids[6], ids[4], ids[2], ids[0]}},
			"running":          {schedule.Filter{Paused: &no}, []int64{other.ID, ids[5], ids[3], ids[1]}},
			"a name":           {schedule.Filter{Name: "n1"}, []int64{other.ID, ids[1]}},
			"a name of an app": {schedule.Filter{AppID: 1, Name: "n1"}, []int64{ids[1]}},
			"no name":          {schedule.Filter{AppID: 1, Name: "x"}, nil},
		} {
			var got []int64
			pages := 0
			for more := true; more && pages < 20; pages++ {
				rows, next, err := w.s.ListSchedules(w.ctx, x.f)
				w.must(err)
				for _, r := range rows {
					got = append(got, r.ID)
				}
				x.f.Cursor, more = next, next != ""
			}
			want(w.t, what, fmt.Sprint(got), fmt.Sprint(x.want))
			if x.f.Limit == 7 {
				want(w.t, "pages that are full at the end", pages, 1)
			}
		}
		for _, bad := range []string{"x", "AWk", "AWkC"} {
			_, _, err := w.s.ListSchedules(w.ctx, schedule.Filter{Cursor: bad})
			wantKind(w.t, err, task.Malformed, "")
		}
		rows, err := w.s.Schedules(w.ctx, []int64{ids[3], 999_999, ids[1]})
		w.must(err)
		if len(rows) != 2 || rows[0].ID != ids[1] || len(rows[1].Definition) == 0 {
			w.t.Errorf("%+v", rows)
		}
	})
}

func TestListSlots(t *testing.T) {
	eachWorld(t, func(w *world) {
		r := w.rule("r", nil)
		base := r.NextAt
		f := w.next(r, 5)
		f.Shots[0].Outcome, f.Shots[0].Sub, f.Shots[0].LastAt, f.Shots[0].Count = schedule.SkippedMisfire, nil, base+100_000, 101
		for i := 1; i < 5; i++ {
			f.Shots[i] = w.shots(r, 0, base+100_000+int64(i)*1000).Shots[0]
		}
		f.Shots[3].Outcome, f.Shots[3].Sub = schedule.FailedTemplate, nil
		w.fire(f)
		w.fire(w.shots(r, schedule.Manual, base+102_000))
		at := func(k int64) string { return fmt.Sprint(base + k) }
		for what, x := range map[string]struct {
			f    schedule.SlotFilter
			want []string
		}{
			"all":            {schedule.SlotFilter{Limit: 2}, []string{at(104_000), at(103_000), at(102_000), at(102_000), at(101_000), at(0)}},
			"one page":       {schedule.SlotFilter{Limit: 6}, []string{at(104_000), at(103_000), at(102_000), at(102_000), at(101_000), at(0)}},
			"one by one":     {schedule.SlotFilter{Limit: 1, From: base + 102_000}, []string{at(104_000), at(103_000), at(102_000), at(102_000)}},
			"until":          {schedule.SlotFilter{To: base + 102_000}, []string{at(101_000), at(0)}},
			"into a range":   {schedule.SlotFilter{From: base + 50_000, To: base + 101_001}, []string{at(101_000), at(0)}},
			"an outcome":     {schedule.SlotFilter{Outcome: schedule.FailedTemplate}, []string{at(103_000)}},
			"and in a range": {schedule.SlotFilter{From: base + 1, Outcome: schedule.SkippedMisfire}, []string{at(0)}},
		} {
			x.f.ScheduleID = r.ID
			var got []string
			pages := 0
			for more := true; more && pages < 20; pages++ {
				rows, next, err := w.s.ListSlots(w.ctx, x.f)
				w.must(err)
				for _, one := range rows {
					got = append(got, fmt.Sprint(one.At))
				}
				x.f.Cursor, more = next, next != ""
			}
			want(w.t, what, fmt.Sprint(got), fmt.Sprint(x.want))
		}
		_, _, err := w.s.ListSlots(w.ctx, schedule.SlotFilter{Cursor: "AXMC"})
		wantKind(w.t, err, task.Malformed, "")
	})
}

// Only schedules of the shards asked for, by next slot, without definitions.
func TestDueSchedules(t *testing.T) {
	eachWorld(t, func(w *world) {
		var shards []int
		byShard := map[int]int{}
		for i := range 20 {
			r := w.rule(fmt.Sprint(i), nil)
			w.must(w.s.Exec(w.ctx, fmt.Sprintf("UPDATE schedules SET next_at=%d WHERE id=%d", 1000-i, r.ID)))
			if s := schedule.Shard(r.ID); s < 8 {
				byShard[s]++
			}
		}
		for s := range 8 {
			shards = append(shards, s)
		}
		rows, err := w.s.DueSchedules(w.ctx, shards, 990, 100)
		w.must(err)
		for i, r := range rows {
			byShard[schedule.Shard(r.ID)]--
			if schedule.Shard(r.ID) >= 8 || r.NextAt > 990 || i > 0 && r.NextAt < rows[i-1].NextAt || r.Definition != nil || r.Name == "" || r.Version != 1 {
				w.t.Errorf("%+v", r)
			}
		}
		want(w.t, "due", int64(len(rows)), w.count("SELECT COUNT(*) FROM schedules WHERE shard<8 AND next_at<=990"))
		some, err := w.s.DueSchedules(w.ctx, shards, 2000, 3)
		w.must(err)
		want(w.t, "bounded", len(some), 3)
		none, err := w.s.DueSchedules(w.ctx, nil, 2000, 3)
		w.must(err)
		want(w.t, "of no shard", len(none), 0)
	})
}
