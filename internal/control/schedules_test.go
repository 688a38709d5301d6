package control

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// book is a store of one schedule, which writes what it is told. disturb runs before each write and may change the schedule,
// as another process would.
type book struct {
	*shelf
	now     int64
	row     schedule.Row
	slots   []schedule.Slot
	fires   int
	disturb func()
	failAt  int // the transaction of Fire that fails
	w       schedule.Written
	open    []int64
	most    int // slots of one transaction of Fire
	rest    int // runs that EndPrevious has to end
	deleted bool
}

func (b *book) Now() int64 { return b.now }

func (b *book) WriteAudit(context.Context, *task.AuditEntry) error { return nil }

func (b *book) ScheduleIDs(context.Context, int) (int64, error) { return 16, nil }

func (b *book) ScheduleByID(_ context.Context, app int32, id int64) (schedule.Row, error) {
	if b.deleted || id != b.row.ID || app != 0 && app != b.row.AppID {
		return schedule.Row{}, task.Missing("schedule")
	}
	return b.row, nil
}

func (b *book) put(f *schedule.Fire) {
	for i := range f.Shots {
		shot := &f.Shots[i]
		if shot.Sub != nil {
			shot.TaskID = shot.Sub.ID
		}
		b.slots = append(b.slots, shot.Slot)
	}
}

func (b *book) CreateSchedule(_ context.Context, row schedule.Row, f *schedule.Fire, _ *task.Idempotency) (schedule.Row, bool, schedule.Written, error) {
	if b.row = row; f != nil {
		b.put(f)
	}
	return row, false, b.w, nil
}

func (b *book) disturbed() {
	if d := b.disturb; d != nil {
		d()
	}
}

func (b *book) Fire(_ context.Context, fires []*schedule.Fire) (schedule.Written, error) {
	b.disturbed()
	if b.fires++; b.fires == b.failAt {
		return schedule.Written{}, task.Gone("database_unavailable", nil)
	}
	f := fires[0]
	b.most = max(b.most, len(f.Shots))
	if f.Lost = f.Version != b.row.Version || !f.Keep && f.From != b.row.NextAt; f.Lost {
		return schedule.Written{}, nil
	}
	if b.put(f); !f.Keep {
		b.row.NextAt = f.Next
	}
	return b.w, nil
}

func (b *book) as(row schedule.Row) error {
	b.disturbed()
	if row.Version != b.row.Version || row.NextAt != b.row.NextAt {
		return &task.Error{Kind: task.Conflict, Code: schedule.CodeVersion}
	}
	return nil
}

func (b *book) ChangeSchedule(_ context.Context, before, after schedule.Row, _ int64, f *schedule.Fire) (schedule.Row, schedule.Written, error) {
	if err := b.as(before); err != nil {
		return schedule.Row{}, schedule.Written{}, err
	}
	if b.row = after; f != nil {
		b.put(f)
	}
	return after, b.w, nil
}

func (b *book) SkipSlot(_ context.Context, row schedule.Row, at, next int64) (schedule.Row, error) {
	if err := b.as(row); err != nil {
		return schedule.Row{}, err
	}
	b.slots = append(b.slots, schedule.Slot{ScheduleID: row.ID, At: at, Outcome: schedule.SkippedByUser})
	b.row.NextAt = next
	return b.row, nil
}

func (b *book) DeleteSchedule(_ context.Context, row schedule.Row, _ int64) error {
	if err := b.as(row); err != nil {
		return err
	}
	b.deleted = true
	return nil
}

func (b *book) ListSlots(_ context.Context, f schedule.SlotFilter) (out []schedule.Slot, next string, err error) {
	for _, s := range b.slots {
		if s.At >= f.From && (f.Outcome == 0 || s.Outcome == f.Outcome) {
			out = append(out, s)
		}
	}
	return out, "", nil
}

func (b *book) EndPrevious(_ context.Context, _ schedule.Rest, after int64) ([]schedule.Cancel, int64, error) {
	if b.rest -= min(b.rest, 1000); b.rest > 0 {
		return nil, after + 1000, nil
	}
	return nil, 0, nil
}

func (b *book) OpenRuns(context.Context, int64, int) ([]int64, error) { return b.open, nil }

var owner = Principal{App: task.App{ID: 1, Key: "k"}, Scope: task.ScopeManage}

// told keeps the signals to workers.
type told struct {
	Signals
	got []task.Signal
}

func (s *told) Signal(_ context.Context, _ int64, sig task.Signal) error {
	s.got = append(s.got, sig)
	return nil
}

type library struct {
	*Service
	*book
	bells *bellsRung
	told  *told
	log   *bytes.Buffer
}

// newLibrary holds one schedule that fires each minute; its clock stands at second 30 of a minute.
func newLibrary(t *testing.T) *library {
	t.Helper()
	l := &library{book: &book{shelf: &shelf{}, now: 1_800_000_030_000}, bells: &bellsRung{}, told: &told{}, log: &bytes.Buffer{}}
	l.Service = New(Options{Store: l.book, Clock: l.book, Ringer: l.bells, Signals: l.told, Logger: slog.New(slog.NewTextHandler(l.log, nil))})
	t.Cleanup(func() { l.Service.Close(context.Background()) })
	if _, _, err := l.Service.CreateSchedule(t.Context(), owner, minutely(), nil); err != nil {
		t.Fatal(err)
	}
	return l
}

func minutely() *ScheduleInput {
	return &ScheduleInput{Name: Some("m"), TimesInput: TimesInput{Spec: &SpecInput{Cron: Some("* * * * *")}}, Task: &Input{Kind: "echo"}}
}

func (l *library) ats() (out []int64) {
	for _, s := range l.slots {
		out = append(out, s.At-1_800_000_000_000)
	}
	return out
}

func TestAChangeFiresWhatIsOwedFirst(t *testing.T) {
	for name, change := range map[string]func(l *library) error{
		"pause": func(l *library) error { _, err := l.PauseSchedule(t.Context(), owner, 16, true, nil); return err },
		"replace": func(l *library) error {
			_, err := l.ReplaceSchedule(t.Context(), owner, 16, minutely(), nil)
			return err
		},
		"skip":   func(l *library) error { _, err := l.SkipNext(t.Context(), owner, 16, nil); return err },
		"delete": func(l *library) error { return l.Service.DeleteSchedule(t.Context(), owner, 16, nil) },
	} {
		l := newLibrary(t)
		l.now += 120_000 // two slots are due that no scheduler has seen
		if err := change(l); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := l.ats(); len(got) < 2 || got[0] != 60_000 || got[1] != 120_000 {
			t.Errorf("%s: %v", name, got)
		}
		if !strings.Contains(l.log.String(), "action=schedule."+map[string]string{"skip": "skip_next"}[name]) || !strings.Contains(l.log.String(), "target=16") {
			t.Errorf("%s is not audited: %s", name, l.log)
		}
	}
}

// A transaction of large payloads has few slots: it holds the schedule, and on SQLite everybody's writes.
func TestLargePayloadsAreWrittenInParts(t *testing.T) {
	l := newLibrary(t)
	in := minutely()
	in.Misfire = &MisfireInput{Policy: "all", MaxAgeMs: Some[int64](86_400_000)}
	in.Task.Payload = []byte(`"` + strings.Repeat("x", 200_000) + `"`)
	if _, err := l.ReplaceSchedule(t.Context(), owner, 16, in, nil); err != nil {
		t.Fatal(err)
	}
	from := l.now
	l.now += 100 * 60_000
	if _, err := l.PauseSchedule(t.Context(), owner, 16, true, nil); err != nil || len(l.slots) != 100 {
		t.Errorf("%d slots of 100 that were owed, %v", len(l.slots), err)
	}
	got, _, err := l.BackfillSchedule(t.Context(), owner, 16, &BackfillInput{From: Some(from), To: Some(l.now)}, nil)
	if err != nil || len(got.Slots) != 100 {
		t.Errorf("%d slots of 100 were backfilled, %v", len(got.Slots), err)
	}
	if l.most > 5 {
		t.Errorf("%d slots of 200 kB in one transaction", l.most)
	}
}

// Whoever loses a race begins anew, and sees the other's version; a guard is asked each time.
func TestChangesThatLoseARace(t *testing.T) {
	stale := errors.New("stale")
	races := map[string]func(l *library){
		"fired": func(l *library) { // by a scheduler: the version stays
			l.row.NextAt += 60_000
		},
		"changed": func(l *library) { l.row.Version++ },
	}
	for name, race := range races {
		for _, guarded := range []bool{false, true} {
			l := newLibrary(t)
			var guard Guard
			if guarded {
				guard = func(r schedule.Row) error {
					if r.Version != 1 {
						return stale
					}
					return nil
				}
			}
			l.disturb = func() {
				l.disturb = nil
				race(l)
			}
			got, err := l.PauseSchedule(t.Context(), owner, 16, true, guard)
			switch {
			case guarded && name == "changed":
				if !errors.Is(err, stale) || l.row.Pause != schedule.NotPaused {
					t.Errorf("%s: %v", name, err)
				}
			case err != nil || got.Pause != schedule.PausedByUser || l.row.Pause != schedule.PausedByUser:
				t.Errorf("%s, guarded %v: %+v %v", name, guarded, got, err)
			}
		}
	}
	// Lost while firing what is owed.
	l := newLibrary(t)
	l.now += 60_000
	l.disturb = func() {
		l.disturb = nil
		l.row.NextAt += 60_000 // another process fired it
	}
	if _, err := l.PauseSchedule(t.Context(), owner, 16, true, nil); err != nil || len(l.slots) != 0 {
		t.Errorf("%v %v", l.slots, err)
	}
	// For ever.
	l = newLibrary(t)
	l.disturb = func() { l.row.Version++ }
	if _, err := l.PauseSchedule(t.Context(), owner, 16, true, nil); task.CodeOf(err) != schedule.CodeVersion || task.KindOf(err) != task.Conflict {
		t.Errorf("%v", err)
	}
	if _, _, err := l.TriggerSchedule(t.Context(), owner, 16, nil); task.CodeOf(err) != schedule.CodeVersion {
		t.Errorf("%v", err)
	}
	for _, s := range []int{len(l.slots), len(l.bells.ids)} {
		if s != 0 {
			t.Errorf("something was written: %v", l.slots)
		}
	}
}

func TestWhatATransactionLeavesIsDone(t *testing.T) {
	l := newLibrary(t)
	l.w = schedule.Written{Bells: []task.Bell{{ID: 5, TaskIDs: []int64{77}}}, Cancels: []schedule.Cancel{{TaskID: 8, WorkerID: 3, Epoch: 2}},
		Rest: []schedule.Rest{{ScheduleID: 16, Version: 1}}}
	l.rest = 2500
	if _, _, err := l.TriggerSchedule(t.Context(), owner, 16, nil); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(l.bells.ids, []int64{77}) || len(l.told.got) != 1 || l.told.got[0] != (task.Signal{Kind: "cancel", TaskID: 8, Epoch: 2}) {
		t.Errorf("%v %v", l.bells.ids, l.told.got)
	}
	if l.rest != 0 {
		t.Errorf("%d runs were not ended", l.rest)
	}
}

// What lies in the next 2 s is written together with the schedule.
func TestLookAheadOfChanges(t *testing.T) {
	l := newLibrary(t)
	l.now = 1_800_000_058_500
	for range 2 {
		l.slots = nil
		if _, err := l.ReplaceSchedule(t.Context(), owner, 16, minutely(), nil); err != nil {
			t.Fatal(err)
		}
		if got := l.ats(); !slices.Equal(got, []int64{60_000}) || l.row.NextAt != 1_800_000_120_000 {
			t.Errorf("%v, next %d", got, l.row.NextAt)
		}
	}
	in := minutely()
	in.Overlap = "skip" // decided at its instant
	l.slots = nil
	if _, err := l.ReplaceSchedule(t.Context(), owner, 16, in, nil); err != nil || len(l.slots) != 0 || l.row.NextAt != 1_800_000_060_000 {
		t.Errorf("%v, next %d, %v", l.ats(), l.row.NextAt, err)
	}
	in.Paused = Some(true)
	if _, err := l.ReplaceSchedule(t.Context(), owner, 16, in, nil); err != nil || l.row.NextAt != schedule.Never {
		t.Errorf("next %d, %v", l.row.NextAt, err)
	}
}

func TestBackfillsThatAreCutShort(t *testing.T) {
	l := newLibrary(t)
	in := &BackfillInput{From: Some(l.now - 900*60_000), To: Some(l.now)}
	l.failAt = 2
	_, _, err := l.BackfillSchedule(t.Context(), owner, 16, in, nil)
	if task.CodeOf(err) != "backfill_incomplete" || task.KindOf(err) != task.Unavailable || !strings.Contains(err.Error(), "first 500 slots") {
		t.Errorf("%v", err)
	}
	l.fires, l.failAt = 0, 1
	if _, _, err = l.BackfillSchedule(t.Context(), owner, 16, in, nil); task.CodeOf(err) != "database_unavailable" {
		t.Errorf("%v", err)
	}
	l.fires, l.failAt = 0, 0
	l.disturb = func() { // changed in the middle
		if l.fires == 1 {
			l.disturb = nil
			l.row.Version++
		}
	}
	made, _, err := l.BackfillSchedule(t.Context(), owner, 16, in, nil)
	if err != nil || len(made.Slots) != 900 {
		t.Fatalf("%d slots, %v", len(made.Slots), err)
	}
	for i := 1; i < 900; i++ {
		if made.Slots[i].At != made.Slots[i-1].At+60_000 || made.Slots[i].TaskID == made.Slots[i-1].TaskID {
			t.Fatalf("%+v after %+v", made.Slots[i], made.Slots[i-1])
		}
	}
}

func TestScopesOfSchedules(t *testing.T) {
	l := newLibrary(t)
	for _, scope := range []task.Scope{0, task.ScopeRead, task.ScopeSubmit} {
		p := owner
		p.Scope = scope
		ctx := t.Context()
		var errs []error
		_, _, err := l.Service.CreateSchedule(ctx, p, minutely(), nil)
		errs = append(errs, err)
		_, err = l.ReplaceSchedule(ctx, p, 16, minutely(), nil)
		errs = append(errs, err)
		_, err = l.PauseSchedule(ctx, p, 16, true, nil)
		errs = append(errs, err, l.Service.DeleteSchedule(ctx, p, 16, nil))
		_, _, err = l.TriggerSchedule(ctx, p, 16, nil)
		errs = append(errs, err)
		_, _, err = l.BackfillSchedule(ctx, p, 16, &BackfillInput{}, nil)
		errs = append(errs, err)
		_, err = l.SkipNext(ctx, p, 16, nil)
		errs = append(errs, err)
		if scope < task.ScopeRead {
			_, err = l.Schedule(ctx, p, 16)
			errs = append(errs, err)
			_, _, err = l.Schedules(ctx, p, schedule.Filter{Limit: 1})
			errs = append(errs, err)
			_, _, err = l.Slots(ctx, p, 16, schedule.SlotFilter{Limit: 1})
			errs = append(errs, err)
			_, err = l.Preview(ctx, p, &PreviewInput{})
			errs = append(errs, err)
			_, err = l.PreviewSchedule(ctx, p, 16, Maybe[int64]{}, Maybe[int64]{}, nil)
			errs = append(errs, err)
		}
		for i, err := range errs {
			if task.KindOf(err) != task.Forbidden {
				t.Errorf("scope %d, use case %d: %v", scope, i, err)
			}
		}
	}
}

// What a preview lists is what fires, slot for slot, whatever the options are and wherever the firing stops in between.
func TestPreviewIsWhatFires(t *testing.T) {
	rnd := rand.New(rand.NewPCG(7, 7))
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	compared := 0
	defer func() {
		if compared < 5_000 {
			t.Errorf("only %d fires were compared", compared)
		}
	}()
	for range 300 {
		l := newLibrary(t)
		in := minutely()
		in.Spec = &SpecInput{Cron: Some(pick("30 2 * * *", "*/7 * * * *", "0 0 1,15 * *", "0 30 1,2,3 ? * SUN", "15 */3 * * 6,0", "0 0 0 L * ?"))}
		if rnd.IntN(4) == 0 {
			in.Spec = &SpecInput{EveryMs: Some(int64(600_000 + rnd.IntN(86_400_000))), Anchor: Some(rnd.Int64N(1 << 40))}
		}
		in.Zone = pick("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "America/Santiago")
		in.DSTGap, in.DSTOverlap = pick("skip", "shift"), pick("first", "second", "both")
		in.Overlap = pick("allow", "skip")
		in.Misfire = &MisfireInput{Policy: "all", MaxAgeMs: Some(int64(task.MaxDelayMs))}
		in.JitterMs = Some(rnd.Int64N(2) * 60_000)
		begin := l.now + rnd.Int64N(365*86_400_000)
		in.StartAt = Some(begin + rnd.Int64N(2*86_400_000))
		in.EndAt = Some(begin + 20*86_400_000 + rnd.Int64N(20*86_400_000))
		l.now, l.slots = begin, nil
		l.Service.creds.forget()
		if _, _, err := l.Service.CreateSchedule(t.Context(), owner, in, nil); err != nil {
			if task.KindOf(err) == task.Invalid {
				continue // nothing lies within the bounds
			}
			t.Fatal(err)
		}
		seen, err := l.PreviewSchedule(t.Context(), owner, 16, Some(begin), Some(int64(schedule.MaxFires)), nil)
		if err != nil {
			t.Fatal(err)
		}
		last := begin + 15*86_400_000
		for l.now < last {
			l.now = min(last, l.now+1+rnd.Int64N(4*86_400_000))
			if _, err := l.ReplaceSchedule(t.Context(), owner, 16, in, nil); err != nil && task.KindOf(err) != task.Invalid {
				t.Fatal(err)
			}
		}
		fired := map[int64]bool{}
		for _, s := range l.slots {
			fired[s.At] = true
		}
		for _, f := range seen.Fires {
			if f.At > last || len(seen.Fires) == schedule.MaxFires && f.At == seen.Fires[schedule.MaxFires-1].At {
				break
			}
			if !fired[f.At] {
				t.Fatalf("%+v %s: %s was previewed and did not fire", in.Spec, in.Zone, f.Local)
			}
			delete(fired, f.At)
			compared++
		}
		for at := range fired {
			if at <= last && (len(seen.Fires) < schedule.MaxFires || at < seen.Fires[schedule.MaxFires-1].At) {
				t.Fatalf("%+v %s: %d fired and was not previewed", in.Spec, in.Zone, at)
			}
		}
	}
}

func TestCronErrorsKeepTheirPlace(t *testing.T) {
	var f faults
	f.expression(&cron.Error{Field: "cron", Rule: "range", Message: "m", Part: "hour", Expr: "ü 99", Pos: 3, Len: 2})
	f.expression(&cron.Error{Field: "zone", Rule: "unknown", Message: "z"})
	f.expression(errors.New("other"))
	if x := f.fields[0]; x.Field != "spec.cron" || x.Message != "hour: m" || *x.Place != (task.Place{Text: "ü 99", At: 2, Length: 2}) {
		t.Errorf("%+v", x)
	}
	if x := f.fields[1]; x.Field != "zone" || x.Place != nil {
		t.Errorf("%+v", x)
	}
	if x := f.fields[2]; x.Field != "spec" {
		t.Errorf("%+v", x)
	}
}
