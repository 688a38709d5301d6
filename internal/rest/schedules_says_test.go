package rest_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/rest"
	"github.com/taskweir/taskweir/internal/runner/system"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
	"github.com/taskweir/taskweir/pkg/apiv1"
)

// These tests prove the sentences of docs/schedules.md that they quote.

// movedClock stands still, three days before the test began by the database's clock, but for what it is moved forward: whatever a test
// reaches is past by the database's clock, so that tasks can be started, and how long a test takes changes nothing.
type movedClock struct {
	base int64
	ms   atomic.Int64
}

const threeDays = 3 * 86_400_000

func (c *movedClock) Now() int64 { return c.base - threeDays + c.ms.Load() }

// timed is the API over a real database, with a clock that a test moves.
type timed struct {
	*world
	clock *movedClock
	t0    int64 // when it began
}

func newTimed(t *testing.T, store *sqldb.Store) *timed {
	w := newWorldOn(t, store)
	if err := w.svc.Close(context.Background()); err != nil { // it has the other clock
		t.Fatal(err)
	}
	c := &movedClock{base: store.Clock().Now()}
	log := slog.New(slog.DiscardHandler)
	w.svc = control.New(control.Options{Store: store, Ringer: w.bells, Clock: c, Signals: w.live, Checks: checks, Logger: log})
	w.api = rest.New(rest.Options{Service: w.svc, Logger: log})
	return &timed{w, c, c.Now()}
}

func onBothTimed(t *testing.T, f func(w *timed)) {
	sqldbtest.Each(t, func(t *testing.T, s *sqldb.Store) { f(newTimed(t, s)) })
}

// hourly is a schedule whose slots are 10 minutes after the beginning, 70, 130, …
func (w *timed) hourly(members ...string) apiv1.Schedule {
	w.t.Helper()
	anchor := apiv1.Time(w.t0 + 600_000)
	return w.schedule(with(append([]string{"spec", fmt.Sprintf(`{"everyMs":3600000,"anchor":%q}`, anchor)}, members...)...))
}

func path(s apiv1.Schedule) string { return "/v1/schedules/" + s.ID.String() }

// having gives the slots of an origin with an outcome, oldest first.
func (w *world) having(s apiv1.Schedule, origin, outcome string) (out []apiv1.Slot) {
	w.t.Helper()
	all := w.slots(s.ID)
	for i := len(all) - 1; i >= 0; i-- {
		if all[i].Origin == origin && all[i].Outcome == outcome {
			out = append(out, all[i])
		}
	}
	return out
}

func (w *world) read(s apiv1.Schedule) apiv1.Schedule {
	w.t.Helper()
	return decode[apiv1.Schedule](w.do("GET", path(s), "").want(200))
}

func (w *world) getTask(id apiv1.ID) apiv1.Task {
	w.t.Helper()
	return w.do("GET", "/v1/tasks/"+id.String(), "").want(200).task()
}

// at previews a spec and gives the fires in UTC, up to the minute.
func (w *world) at(spec, rest string) string {
	w.t.Helper()
	var out []string
	for _, f := range decode[apiv1.Preview](w.do("POST", "/v1/schedules/preview", `{"spec":{`+spec+`},`+rest+`}`).want(200)).Fires {
		out = append(out, f.At.String()[:16])
	}
	return strings.Join(out, " ")
}

func (w *world) fires(spec, rest, want string) {
	w.t.Helper()
	if got := w.at(spec, rest); got != want {
		w.t.Errorf("%s %s: %s, want %s", spec, rest, got, want)
	}
}

func TestSaysOfExpressions(t *testing.T) {
	w := newWorld(t)
	from := func(day string, n int) string { return fmt.Sprintf(`"from":"%sT00:00:00Z","count":%d`, day, n) }
	testkit.Says(t, "With dialect `auto` five fields are unix, six or seven are Quartz, and a leading `@` is a form of crontab.")
	w.fires(`"cron":"30 2 * * *"`, from("2027-01-01", 1), "2027-01-01T02:30")
	w.fires(`"cron":"0 30 2 * * ?"`, from("2027-01-01", 1), "2027-01-01T02:30")
	w.fires(`"cron":"0 30 2 * * ? 2028"`, from("2027-01-01", 1), "2028-01-01T02:30")
	w.fires(`"cron":"@monthly"`, from("2027-01-01", 1), "2027-02-01T00:00")
	testkit.Says(t, "`0 0 13 * 5` fires on every 13th and on every Friday; `0 0 13 * *` on every 13th; `0 0 * * 5` on every Friday.")
	w.fires(`"cron":"0 0 13 * 5"`, from("2027-04-08", 3), "2027-04-09T00:00 2027-04-13T00:00 2027-04-16T00:00")
	w.fires(`"cron":"0 0 13 * *"`, from("2027-04-08", 2), "2027-04-13T00:00 2027-05-13T00:00")
	w.fires(`"cron":"0 0 * * 5"`, from("2027-04-08", 2), "2027-04-09T00:00 2027-04-16T00:00")
	testkit.Says(t, "`0 0 0 31W * ?` is the weekday nearest to the 31st and skips months that have no 31st, with one habit of Quartz: where the 1st of the next month is a Saturday it fires on the Friday before, as on 30 April 2027.")
	w.fires(`"cron":"0 0 0 31W * ?"`, from("2027-05-31", 2), "2027-07-30T00:00 2027-08-31T00:00")
	w.fires(`"cron":"0 0 0 31W * ?"`, from("2027-01-01", 4), "2027-01-29T00:00 2027-03-31T00:00 2027-04-30T00:00 2027-05-31T00:00")
	testkit.Says(t, "`0 0 0 L-30 * ?` is 30 days before the last day: it fires on the 1st of months with 31 days, and in no other month.")
	w.fires(`"cron":"0 0 0 L-30 * ?"`, from("2027-01-02", 4), "2027-03-01T00:00 2027-05-01T00:00 2027-07-01T00:00 2027-08-01T00:00")
	testkit.Says(t, "`*/2` in the day-of-week of Quartz is 1, 3, 5 and 7: Sunday, Tuesday, Thursday and Saturday.")
	w.fires(`"cron":"0 0 0 ? * */2"`, from("2027-01-02", 5), "2027-01-03T00:00 2027-01-05T00:00 2027-01-07T00:00 2027-01-09T00:00 2027-01-10T00:00")
	testkit.Says(t, "`0 0 0 ? FEB 2#5`, the fifth Monday of February, fires next on 29 February 2044.")
	w.fires(`"cron":"0 0 0 ? FEB 2#5"`, from("2026-11-22", 1), "2044-02-29T00:00")
	testkit.Says(t, "An interval counts from its `anchor`, or from 1970-01-01T00:00:00Z: `everyMs: 3600000` fires on the hour, with an anchor of 00:10 at ten past.")
	w.fires(`"everyMs":3600000`, from("2027-01-01", 2), "2027-01-01T01:00 2027-01-01T02:00")
	w.fires(`"everyMs":3600000,"anchor":"2020-01-01T00:10:00Z"`, from("2027-01-01", 2), "2027-01-01T00:10 2027-01-01T01:10")
	testkit.Says(t, "`@every 90s` is the same as `everyMs: 90000`.")
	if a, b := w.at(`"cron":"@every 90s"`, from("2027-01-01", 100)), w.at(`"everyMs":90000`, from("2027-01-01", 100)); a != b || a == "" {
		t.Errorf("%s\n%s", a, b)
	}
}

func TestSaysOfClockChanges(t *testing.T) {
	w := newWorld(t)
	const job = `"cron":"30 2 * * *"`
	spring := `"zone":"Europe/Berlin","from":"2027-03-27T12:00:00Z","count":2`
	autumn := `"zone":"Europe/Berlin","from":"2027-10-30T12:00:00Z","count":2`
	testkit.Says(t, "With `dstGap: shift`, the default, a job at 02:30 starts at 03:30 on 28 March 2027, one hour later by the clock, and at 02:30 again from 29 March on.")
	for _, option := range []string{"", `,"dstGap":"shift"`} {
		p := decode[apiv1.Preview](w.do("POST", "/v1/schedules/preview", `{"spec":{`+job+`},`+spring+option+`}`).want(200))
		if p.Fires[0].Local != "2027-03-28T03:30:00+02:00" || p.Fires[1].Local != "2027-03-29T02:30:00+02:00" {
			t.Errorf("%+v", p)
		}
	}
	testkit.Says(t, "With `dstGap: skip` it does not start on 28 March 2027 at all.")
	w.fires(job, spring+`,"dstGap":"skip"`, "2027-03-29T00:30 2027-03-30T00:30")
	testkit.Says(t, "Where the shifted time is another time of the expression the job starts once: `30 2,3 * * *` starts once on 28 March 2027, at 03:30.")
	w.fires(`"cron":"30 2,3 * * *"`, spring, "2027-03-28T01:30 2027-03-29T00:30")
	testkit.Says(t, "With `dstOverlap: first`, the default, it starts on 31 October 2027 at the first 02:30 only, which is 00:30 UTC.")
	w.fires(job, autumn, "2027-10-31T00:30 2027-11-01T01:30")
	w.fires(job, autumn+`,"dstOverlap":"first"`, "2027-10-31T00:30 2027-11-01T01:30")
	testkit.Says(t, "With `dstOverlap: second` it starts at the second 02:30 only, which is 01:30 UTC.")
	w.fires(job, autumn+`,"dstOverlap":"second"`, "2027-10-31T01:30 2027-11-01T01:30")
	testkit.Says(t, "With `dstOverlap: both` it starts at both.")
	w.fires(job, autumn+`,"dstOverlap":"both"`, "2027-10-31T00:30 2027-10-31T01:30")
	testkit.Says(t, "Where the hour is `*` or a step over the whole day the schedule follows elapsed time, and the two options act on nothing: `*/5 * * * *` starts 276 times on 28 March 2027 and 300 times on 31 October 2027, always five minutes apart.")
	for _, options := range []string{"", `,"dstGap":"skip","dstOverlap":"both"`} {
		for day, want := range map[string]int{`"from":"2027-03-27T22:59:59Z","endAt":"2027-03-28T22:00:00Z"`: 276, `"from":"2027-10-30T21:59:59Z","endAt":"2027-10-31T23:00:00Z"`: 300} {
			p := decode[apiv1.Preview](w.do("POST", "/v1/schedules/preview", `{"spec":{"cron":"*/5 * * * *"},"zone":"Europe/Berlin","count":1000,`+day+options+`}`).want(200))
			if len(p.Fires) != want {
				t.Errorf("%s: %d fires, want %d", day, len(p.Fires), want)
			}
			for i := 1; i < len(p.Fires); i++ {
				if p.Fires[i].At-p.Fires[i-1].At != 300_000 {
					t.Errorf("%s and %s", p.Fires[i-1].Local, p.Fires[i].Local)
				}
			}
		}
	}
	testkit.Says(t, "Hours that the clock does not show are left out then, and hours that it shows twice fire twice: `0 */2 * * *` fires on 28 March 2027 at 00:00 and 04:00, on 31 October at 00:00, 02:00, 02:00 and 04:00.")
	w.fires(`"cron":"0 */2 * * *"`, `"zone":"Europe/Berlin","from":"2027-03-27T22:30:00Z","count":2`, "2027-03-27T23:00 2027-03-28T02:00")
	w.fires(`"cron":"0 */2 * * *"`, `"zone":"Europe/Berlin","from":"2027-10-30T21:30:00Z","count":4`, "2027-10-30T22:00 2027-10-31T00:00 2027-10-31T01:00 2027-10-31T03:00")
	testkit.Says(t, "Intervals and instants know no clock change: `everyMs: 86400000` starts 24 hours later, whatever the clock shows.")
	w.fires(`"everyMs":86400000,"anchor":"2027-03-27T01:30:00Z"`, spring, "2027-03-28T01:30 2027-03-29T01:30")
	testkit.Says(t, "`startAt` is the first instant that may be a slot, `endAt` the first that may not.")
	w.fires(`"cron":"@daily"`, `"from":"2027-01-01T00:00:00Z","startAt":"2027-01-05T00:00:00Z","endAt":"2027-01-07T00:00:00Z"`, "2027-01-05T00:00 2027-01-06T00:00")
	w.fires(`"cron":"@daily"`, `"from":"2027-01-01T00:00:00Z","startAt":"2027-01-05T00:00:00.001Z","endAt":"2027-01-07T00:00:00.001Z"`, "2027-01-06T00:00 2027-01-07T00:00")
}

func TestSaysOfMissedSlots(t *testing.T) {
	onBothTimed(t, func(w *timed) {
		t := w.t
		n := 0
		after := func(downMs int64, members ...string) (fired, missed []apiv1.Slot) {
			t.Helper()
			n++
			w.clock.ms.Store(0)
			s := w.hourly(append(members, "name", fmt.Sprintf(`"s%d"`, n))...)
			w.clock.ms.Store(downMs)
			w.do("POST", path(s)+"/pause", "").want(200)
			return w.having(s, "planned", "fired"), w.having(s, "planned", "skipped_misfire")
		}
		const down = 48 * 3_600_000
		testkit.Says(t, "With `once`, the default, the newest missed slot starts, if it is not older than `maxAgeMs`, and the 47 others are `skipped_misfire`.")
		for _, policy := range []string{`null`, `{"policy":"once"}`} {
			fired, missed := after(down, "misfire", policy)
			if len(fired) != 1 || len(missed) != 47 || fired[0].Slot <= missed[46].Slot {
				t.Errorf("%d fired, %d missed", len(fired), len(missed))
			}
		}
		if fired, missed := after(down, "misfire", `{"maxAgeMs":600000}`); len(fired) != 0 || len(missed) != 48 {
			t.Errorf("too old: %d fired, %d missed", len(fired), len(missed))
		}
		testkit.Says(t, "With `skip` none of them starts.")
		if fired, missed := after(down, "misfire", `{"policy":"skip"}`); len(fired) != 0 || len(missed) != 48 {
			t.Errorf("%d fired, %d missed", len(fired), len(missed))
		}
		testkit.Says(t, "With `all` each that is not older than `maxAgeMs` starts, the oldest first: one of the 48 with the default of an hour, all with `maxAgeMs: 172800000`.")
		if fired, missed := after(down, "misfire", `{"policy":"all"}`); len(fired) != 1 || len(missed) != 47 {
			t.Errorf("%d fired, %d missed", len(fired), len(missed))
		}
		fired, missed := after(down, "misfire", `{"policy":"all","maxAgeMs":172800000}`)
		if len(fired) != 48 || len(missed) != 0 {
			t.Fatalf("%d fired, %d missed", len(fired), len(missed))
		}
		for i := 1; i < len(fired); i++ {
			if fired[i].TaskID <= fired[i-1].TaskID {
				t.Errorf("%+v is younger than %+v", fired[i-1], fired[i])
			}
		}
		testkit.Says(t, "A slot that is fired within 10 s of its instant was not missed, whatever the policy.")
		if fired, missed := after(600_000+9_000, "misfire", `{"policy":"skip"}`); len(fired) != 1 || len(missed) != 0 {
			t.Errorf("%d fired, %d missed", len(fired), len(missed))
		}
		if fired, missed := after(600_000+15_000, "misfire", `{"policy":"skip"}`); len(fired) != 0 || len(missed) != 1 {
			t.Errorf("%d fired, %d missed", len(fired), len(missed))
		}
		testkit.Says(t, "More than 1,000 skipped slots in a row share one line of the history, with `count`, `slot` and `lastSlot`.")
		_, missed = after(2_000_000, "misfire", `{"policy":"skip"}`, "spec", `{"everyMs":1000}`)
		if len(missed) != 1 || missed[0].Count < 1_900 || int64(missed[0].LastSlot-missed[0].Slot) != (missed[0].Count-1)*1000 {
			t.Errorf("%+v", missed)
		}
		testkit.Says(t, "When more than 2,000 slots are owed at a pause, an edit or a delete, the rest of them is skipped, in one line.")
		w.clock.ms.Store(0)
		flood := w.schedule(with("name", `"flood"`, "spec", `{"everyMs":1000}`, "misfire", `{"policy":"all","maxAgeMs":172800000}`))
		w.clock.ms.Store(3_000_000)
		w.do("POST", path(flood)+"/pause", "").want(200)
		skipped := w.having(flood, "planned", "skipped")
		if len(skipped) != 1 || skipped[0].Count < 990 || skipped[0].Count > 1_010 {
			t.Errorf("%+v", skipped)
		}
	})
}

func TestSaysOfOverlaps(t *testing.T) {
	onBothTimed(t, func(w *timed) {
		t := w.t
		// One run that has not ended, then the next slot; started tells that a worker runs the first.
		twice := func(policy string, started bool) (s apiv1.Schedule, first apiv1.Slot) {
			t.Helper()
			w.clock.ms.Store(0)
			s = w.hourly("name", fmt.Sprintf(`"%s %v"`, policy, started), "overlap", `"`+policy+`"`)
			w.reach(s, 0)
			first = w.having(s, "planned", "fired")[0]
			if started {
				w.start(int64(first.TaskID))
			}
			w.reach(s, 1)
			return s, first
		}
		testkit.Says(t, "starts beside it with `allow`, the default;")
		s, first := twice("allow", true)
		if got := w.having(s, "planned", "fired"); len(got) != 2 || w.getTask(first.TaskID).State != "running" {
			t.Errorf("%+v", got)
		}
		testkit.Says(t, "is `skipped_overlap` with `skip`;")
		s, _ = twice("skip", true)
		if got := w.having(s, "planned", "skipped_overlap"); len(got) != 1 || got[0].TaskID != 0 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		s, _ = twice("queue", true)
		if got := w.having(s, "planned", "held"); len(got) != 1 || got[0].TaskID != 0 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		testkit.Says(t, "with `cancel_previous` cancels it: what has not started is cancelled at once and the slot starts; what runs is told to stop and the slot is `held` until it has, in place of slots that waited, which become `skipped_overlap`.")
		s, first = twice("cancel_previous", false)
		if got := w.having(s, "planned", "fired"); len(got) != 2 || w.getTask(first.TaskID).State != "cancelled" || w.getTask(first.TaskID).Reason != "by_schedule" {
			t.Errorf("%+v", w.slots(s.ID))
		}
		s, first = twice("cancel_previous", true)
		if got := w.having(s, "planned", "held"); len(got) != 1 || w.getTask(first.TaskID).CancelRequestedAt == 0 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		if n := len(w.live.sent); n == 0 || w.live.sent[n-1].TaskID != int64(first.TaskID) {
			t.Errorf("signals %+v", w.live.sent)
		}
		w.reach(s, 2)
		if held, skipped := w.having(s, "planned", "held"), w.having(s, "planned", "skipped_overlap"); len(held) != 1 || len(skipped) != 1 || skipped[0].Slot >= held[0].Slot {
			t.Errorf("%+v", w.slots(s.ID))
		}

		testkit.Says(t, "a slot whose unique key is taken is `failed_template` with the detail \"uniqueKey is taken by task N\", and with `uniqueOnConflict: keep` it is `skipped_overlap` with the id of that task.")
		w.clock.ms.Store(0)
		other := w.submit(`{"kind":"echo","uniqueKey":"u"}`)
		s = w.hourly("name", `"unique"`, "task", `{"kind":"echo","uniqueKey":"u"}`)
		kept := w.hourly("name", `"kept"`, "task", `{"kind":"echo","uniqueKey":"u","uniqueOnConflict":"keep"}`)
		w.reach(s, 0)
		w.reach(kept, 0)
		if got := w.having(s, "planned", "failed_template"); len(got) != 1 || *got[0].Detail != "uniqueKey is taken by task "+other.ID.String() || got[0].TaskID != 0 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		if got := w.having(kept, "planned", "skipped_overlap"); len(got) != 1 || got[0].TaskID != other.ID {
			t.Errorf("%+v", w.slots(kept.ID))
		}
		if p := w.do("POST", path(s)+"/trigger", "").want(409).problem(); p.Code != "slot_failed" || !strings.Contains(p.Detail, "taken by task "+other.ID.String()) {
			t.Errorf("%+v", p)
		}
	})
}

func TestSaysOfChanges(t *testing.T) {
	onBothTimed(t, func(w *timed) {
		t := w.t
		testkit.Says(t, "A pause acts from the next slot on: tasks that wait for slots after now are cancelled with the reason `by_schedule` and leave no line; what has begun goes on.")
		s := w.schedule(with("name", `"pause"`, "spec", `{"everyMs":1000}`))
		ahead := w.having(s, "planned", "fired")
		if len(ahead) == 0 {
			t.Fatalf("no slot is there ahead of its time")
		}
		run := decode[apiv1.Slot](w.do("POST", path(s)+"/trigger", "").want(201))
		w.start(int64(run.TaskID))
		paused := decode[apiv1.Schedule](w.do("POST", path(s)+"/pause", "").want(200))
		last := ahead[len(ahead)-1]
		if got := w.getTask(last.TaskID); got.State != "cancelled" || got.Reason != "by_schedule" || w.getTask(run.TaskID).State != "running" {
			t.Errorf("%+v", got)
		}
		for _, x := range w.slots(s.ID) {
			if x.Slot == last.Slot && x.Origin == "planned" {
				t.Errorf("a line is left: %+v", x)
			}
		}
		if !paused.Paused || *paused.PausedReason != "by_user" || paused.NextAt != 0 {
			t.Errorf("%+v", paused)
		}
		if again := decode[apiv1.Schedule](w.do("POST", path(s)+"/pause", "").want(200)); again.Version != paused.Version {
			t.Errorf("pausing twice made version %d of %d", again.Version, paused.Version)
		}

		testkit.Says(t, "After a resume the first slot is the first one later than now; nothing is made up for the pause.")
		before := len(w.slots(s.ID))
		w.clock.ms.Store(3_600_000)
		now := w.clock.Now()
		w.do("POST", path(s)+"/resume", "").want(200)
		for i, x := range w.slots(s.ID)[:len(w.slots(s.ID))-before] {
			if int64(x.Slot) <= now || i > 2 {
				t.Errorf("%+v was made up for", x)
			}
		}
		w.do("DELETE", path(s), "").want(204)
		w.clock.ms.Store(0)

		testkit.Says(t, "A trigger makes one run now, also while the schedule is paused, and does not move the next slot.")
		s = w.hourly("name", `"trigger"`)
		run = decode[apiv1.Slot](w.do("POST", path(s)+"/trigger", "").want(201))
		if got := w.read(s); got.NextAt != s.NextAt || got.Version != s.Version || run.Origin != "manual" || run.Outcome != "fired" || w.getTask(run.TaskID).RunAt > apiv1.Time(w.store.Clock().Now()) {
			t.Errorf("%+v %+v", got, run)
		}
		w.do("POST", path(s)+"/pause", "").want(200)
		w.do("POST", path(s)+"/trigger", "").want(201)
		if p := w.do("POST", path(s)+"/skip-next", "").want(409).problem(); p.Code != "schedule_paused" {
			t.Errorf("%+v", p)
		}
		testkit.Says(t, "The overlap policy decides about it as about any slot: 202 when it is held, 409 `schedule_overlap` with the `taskId` of what runs when it would be skipped.")
		queue, skip := w.hourly("name", `"q"`, "overlap", `"queue"`), w.hourly("name", `"k"`, "overlap", `"skip"`)
		w.do("POST", path(queue)+"/trigger", "").want(201)
		if held := decode[apiv1.Slot](w.do("POST", path(queue)+"/trigger", "").want(202)); held.Outcome != "held" || held.TaskID != 0 {
			t.Errorf("%+v", held)
		}
		run = decode[apiv1.Slot](w.do("POST", path(skip)+"/trigger", "").want(201))
		if p := w.do("POST", path(skip)+"/trigger", "").want(409).problem(); p.Code != "schedule_overlap" || p.TaskID != run.TaskID {
			t.Errorf("%+v", p)
		}

		testkit.Says(t, "`skip-next` takes the next planned slot out, and called again the one after.")
		s = w.hourly("name", `"skip"`)
		first := decode[apiv1.Slot](w.do("POST", path(s)+"/skip-next", "").want(200))
		second := decode[apiv1.Slot](w.do("POST", path(s)+"/skip-next", "").want(200))
		if first.Slot != s.NextAt || second.Slot != s.NextAt+3_600_000 || w.read(s).NextAt != s.NextAt+2*3_600_000 || len(w.having(s, "planned", "skipped")) != 2 {
			t.Errorf("%+v %+v %+v", first, second, w.read(s))
		}
		w.reach(s, 2)
		if got := w.having(s, "planned", "fired"); len(got) != 1 || got[0].Slot != s.NextAt+2*3_600_000 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		w.clock.ms.Store(0)
		fast := w.schedule(with("name", `"fast"`, "spec", `{"everyMs":1000}`)) // its next slots are there already
		for _, x := range []apiv1.Slot{decode[apiv1.Slot](w.do("POST", path(fast)+"/skip-next", "").want(200)), decode[apiv1.Slot](w.do("POST", path(fast)+"/skip-next", "").want(200))} {
			found := false
			for _, y := range w.having(fast, "planned", "skipped") {
				found = found || y.Slot == x.Slot
			}
			if !found {
				t.Errorf("%+v is not in the history", x)
			}
		}

		testkit.Says(t, "A PUT replaces the whole definition from the next slot on; tasks that wait for slots after now are cancelled and planned anew; what has begun goes on; `paused` stays as it is unless the request says so.")
		s = w.schedule(with("name", `"edit"`, "spec", `{"everyMs":1000}`, "labels", `{"a":"b"}`))
		run = decode[apiv1.Slot](w.do("POST", path(s)+"/trigger", "").want(201))
		ahead = w.having(s, "planned", "fired")
		edited := decode[apiv1.Schedule](w.do("PUT", path(s), with("name", `"edit"`, "spec", `{"everyMs":1000}`, "task", `{"kind":"echo","payload":"new"}`)).want(200))
		last = ahead[len(ahead)-1]
		if got := w.getTask(last.TaskID); got.State != "cancelled" || got.Reason != "by_schedule" || w.getTask(run.TaskID).State == "cancelled" || len(edited.Labels) != 0 || edited.Version != 2 {
			t.Errorf("%+v", got)
		}
		for _, x := range w.having(s, "planned", "fired") {
			if x.Slot == last.Slot && string(w.getTask(x.TaskID).Payload) != `"new"` {
				t.Errorf("%+v is of the old definition", x)
			}
		}
		w.do("POST", path(s)+"/pause", "").want(200)
		for body, want := range map[string]bool{with("name", `"edit"`): true, with("name", `"edit"`, "paused", "false"): false} {
			if got := decode[apiv1.Schedule](w.do("PUT", path(s), body).want(200)); got.Paused != want {
				t.Errorf("%s: paused %v", body, got.Paused)
			}
			w.do("POST", path(s)+"/pause", "").want(200)
		}

		testkit.Says(t, "An edit that races a fire loses no slot: what the old definition owed up to the edit is fired before it acts.")
		s = w.hourly("name", `"race"`)
		w.clock.ms.Store(600_000 + 5_000) // its slot is due, and no scheduler has seen it
		w.do("PUT", path(s), with("name", `"race"`)).want(200)
		if got := w.having(s, "planned", "fired"); len(got) != 1 || got[0].Slot != s.NextAt {
			t.Errorf("%+v", got)
		}
		w.clock.ms.Store(0)

		testkit.Says(t, "After a delete what has begun goes on; slots that waited are gone.")
		s = w.hourly("name", `"delete"`, "overlap", `"queue"`)
		run = decode[apiv1.Slot](w.do("POST", path(s)+"/trigger", "").want(201))
		w.start(int64(run.TaskID))
		w.do("POST", path(s)+"/trigger", "").want(202)
		w.do("DELETE", path(s), "").want(204)
		w.do("GET", path(s), "").want(404)
		w.do("DELETE", path(s), "").want(404)
		if held, err := w.store.HasHeld(context.Background()); err != nil || w.getTask(run.TaskID).State != "running" {
			t.Errorf("%v %v", held, err)
		}

		testkit.Says(t, "`If-Match` compares the version alone, which fires do not change: a PUT, DELETE, pause, resume or skip-next with another version is 412 and changes nothing.")
		s = w.hourly("name", `"match"`)
		tag := w.do("GET", path(s), "").want(200).Header().Get("ETag")
		w.clock.ms.Store(600_000 + 5_000)
		w.do("POST", path(s)+"/skip-next", "").want(200)
		if len(w.having(s, "planned", "fired")) != 1 {
			t.Errorf("%+v", w.slots(s.ID))
		}
		w.do("POST", path(s)+"/pause", "", "If-Match", tag).want(200)
		stood := w.do("GET", path(s), "").want(200).Body.String()
		for _, c := range [][2]string{{"PUT", ""}, {"DELETE", ""}, {"POST", "/pause"}, {"POST", "/resume"}, {"POST", "/skip-next"}} {
			body := ""
			if c[0] == "PUT" {
				body = yearly
			}
			w.do(c[0], path(s)+c[1], body, "If-Match", tag).want(412)
		}
		if now := w.do("GET", path(s), "").want(200).Body.String(); now != stood {
			t.Errorf("%s\nwas\n%s", now, stood)
		}

		testkit.Says(t, "A schedule whose last slot is over stays, with `nextAt: null`, until it is deleted.")
		w.clock.ms.Store(0)
		once := w.schedule(with("name", `"once"`, "spec", fmt.Sprintf(`{"at":%q}`, apiv1.Time(w.t0+600_000))))
		w.clock.ms.Store(600_000 + 5_000)
		if p := w.do("POST", path(once)+"/skip-next", "").want(409).problem(); p.Code != "no_next_slot" {
			t.Errorf("%+v", p)
		}
		if got := w.read(once); got.NextAt != 0 || got.Paused || len(w.having(once, "planned", "fired")) != 1 {
			t.Errorf("%+v", got)
		}
		w.do("POST", path(once)+"/trigger", "").want(201)
	})
}

// reach moves the clock to 5 s after a slot of an hourly schedule and has what is owed fired, by an edit that changes
// nothing.
func (w *timed) reach(s apiv1.Schedule, number int) {
	w.t.Helper()
	w.clock.ms.Store(600_000 + int64(number)*3_600_000 + 5_000)
	now := w.read(s)
	in := apiv1.ScheduleInput{Name: now.Name, Overlap: now.Overlap, JitterMs: now.JitterMs, Zone: now.Zone,
		Spec: apiv1.ScheduleSpec{EveryMs: now.Spec.EveryMs, Anchor: &now.Spec.Anchor},
		Task: apiv1.Submit{Kind: now.Task.Kind, Payload: now.Task.Payload}}
	if now.Task.UniqueKey != nil {
		in.Task.UniqueKey, in.Task.UniqueOnConflict = *now.Task.UniqueKey, *now.Task.UniqueOnConflict
	}
	body, err := in.AppendJSON(nil)
	if err != nil {
		w.t.Fatal(err)
	}
	w.do("PUT", path(s), string(body)).want(200)
}

func TestSaysOfBackfills(t *testing.T) {
	onBoth(t, func(w *world) {
		t := w.t
		testkit.Says(t, "A backfill makes a run for every planned slot of `[from, to)` once more, whether it was fired or not, also while the schedule is paused: at most 1,000, none later than now.")
		s := w.schedule(with("spec", `{"cron":"@hourly"}`, "paused", "true"))
		day := `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`
		for range 2 {
			made := decode[apiv1.Backfill](w.do("POST", path(s)+"/backfill", day).want(201))
			if len(made.Items) != 24 || made.Items[0].Slot.String() != "2026-01-01T00:00:00.000Z" || made.Items[23].Slot.String() != "2026-01-01T23:00:00.000Z" {
				t.Errorf("%+v", made)
			}
		}
		whole := decode[apiv1.Backfill](w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-02-11T16:00:00Z"}`).want(201))
		if len(whole.Items) != 1000 {
			t.Errorf("%d slots", len(whole.Items))
		}
		w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-02-11T16:00:00.001Z"}`).refused(422, "to", "max_items")
		w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2126-01-01T00:00:00Z"}`).refused(422, "to", "before")
		w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-01T00:00:00Z"}`).refused(422, "to", "after")
		w.do("POST", path(s)+"/backfill", `{"from":1,"nope":2}`).refused(422, "nope", "unknown_field")
		w.do("POST", path(s)+"/backfill", `{}`).refused(422, "from", "required")
		w.do("POST", path(s)+"/backfill", `[]`).want(400)
		if none := decode[apiv1.Backfill](w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:01Z","to":"2026-01-01T00:59:59Z"}`).want(200)); none.ID != 0 || len(none.Items) != 0 {
			t.Errorf("%+v", none)
		}
		testkit.Says(t, "All are due at once with `allow`; with every other policy they run one after the other, and none is skipped.")
		if due := w.getTask(whole.Items[999].TaskID).RunAt; int64(due) > w.store.Clock().Now() {
			t.Errorf("due at %s", due)
		}
		for _, policy := range []string{"skip", "queue", "cancel_previous"} {
			s := w.schedule(with("name", `"`+policy+`"`, "spec", `{"cron":"@hourly"}`, "overlap", `"`+policy+`"`, "jitterMs", "60000"))
			made := decode[apiv1.Backfill](w.do("POST", path(s)+"/backfill", day).want(201))
			for i, slot := range made.Items {
				if want := map[bool]string{true: "fired", false: "held"}[i == 0]; slot.Outcome != want {
					t.Errorf("%s: slot %d is %s", policy, i, slot.Outcome)
				}
			}
			// Each start frees the next, in order.
			for i := 1; i < 4; i++ {
				worker, c := w.start(int64(w.having(s, "backfill", "fired")[i-1].TaskID))
				w.finish(worker, c, task.Succeeded, nil)
				w.release(s)
				if got := w.having(s, "backfill", "fired"); len(got) != i+1 || got[i].Slot != made.Items[i].Slot {
					t.Fatalf("%s: %+v", policy, got)
				}
			}
		}
	})
}

// release starts the oldest slot that waits, as a scheduler does.
func (w *world) release(s apiv1.Schedule) {
	w.t.Helper()
	ctx := context.Background()
	row, err := w.store.ScheduleByID(ctx, 0, int64(s.ID))
	if err != nil {
		w.t.Fatal(err)
	}
	d, err := schedule.DecodeDefinition(row.Definition)
	if err != nil {
		w.t.Fatal(err)
	}
	table, err := schedule.Compile(d)
	if err != nil {
		w.t.Fatal(err)
	}
	free, err := w.store.Releasable(ctx, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, slot := range free {
		if slot.ScheduleID != row.ID {
			continue
		}
		id, err := w.store.TaskIDs(ctx, 1)
		if err != nil {
			w.t.Fatal(err)
		}
		slot.Outcome = schedule.Fired
		f := &schedule.Fire{ID: row.ID, Version: row.Version, AppID: row.AppID, Keep: true, Overlap: d.Overlap, Tracked: d.Tracked(), Shots: []schedule.Shot{table.Shot(&row, slot, id)}}
		if _, err := w.store.ReleaseSlot(ctx, f); err != nil || f.Lost {
			w.t.Fatalf("lost %v, %v", f.Lost, err)
		}
		return
	}
	w.t.Fatalf("nothing of schedule %d waits: %+v", row.ID, free)
}

func TestSaysOfRuns(t *testing.T) {
	onBothTimed(t, func(w *timed) {
		t := w.t
		testkit.Says(t, "With `jitterMs` each task is due up to that much after its slot; how much is a hash of the schedule's id and the slot, the same on every scheduler, so a crash does not change it.")
		w.clock.ms.Store(threeDays - 20_000)
		due := apiv1.Time(w.clock.Now() + 15_000)
		s := w.schedule(with("name", `"jitter"`, "jitterMs", "86400000", "spec", fmt.Sprintf(`{"everyMs":3600000,"anchor":%q}`, due)))
		soon := decode[apiv1.Preview](w.do("GET", path(s)+"/preview?count=1", "").want(200)).Fires[0]
		w.clock.ms.Store(threeDays)
		w.do("POST", path(s)+"/pause", "").want(200)
		fired := w.having(s, "planned", "fired")
		if len(fired) != 1 || fired[0].Slot != due || soon.At != due {
			t.Fatalf("%+v", fired)
		}
		jittered := w.getTask(fired[0].TaskID)
		want := apiv1.Time(int64(due) + schedule.Jitter(int64(s.ID), int64(due), 86_400_000))
		if jittered.RunAt != max(want, jittered.CreatedAt) || soon.DueAt != want || !strings.Contains(soon.Note, "later (jitter)") {
			t.Errorf("due at %s, want %s; the preview said %+v", jittered.RunAt, want, soon)
		}
		w.clock.ms.Store(0)

		testkit.Says(t, "Inside the strings of the payload `{{slot}}` is the slot as RFC 3339 in UTC with milliseconds, `{{slotUnix}}` the slot in unix seconds, `{{schedule.name}}` the name.")
		testkit.Says(t, "A slot is an instant in UTC, and `{{slot}}` shows it as one.")
		s = w.schedule(with("name", `"a \"quoted\" nämé"`, "spec", `{"cron":"30 2 * * *"}`, "zone", `"Asia/Tokyo"`, "task", `{"kind":"echo","payload":{"a":["{{slot}}",  "{{ slotUnix }}/{{schedule.name}}"], "b":{"c":{"d":1}}}}`))
		made := decode[apiv1.Backfill](w.do("POST", path(s)+"/backfill", `{"from":"2026-01-01T00:00:00Z","to":"2026-01-02T00:00:00Z"}`).want(201))
		if got := string(w.getTask(made.Items[0].TaskID).Payload); got != `{"a":["2026-01-01T17:30:00.000Z",  "1767288600/a \"quoted\" nämé"], "b":{"c":{"d":1}}}` {
			t.Errorf("%s", got)
		}
		testkit.Says(t, "Any other name, and braces that are not closed, are refused when the schedule is saved.")
		for _, payload := range []string{`"{{slots}}"`, `"{{}}"`, `"{{slot"`, `"{{slot}"`, `{"{{x}}":1}`} {
			w.do("POST", "/v1/schedules", with("name", `"t"`, "task", `{"kind":"echo","payload":`+payload+`}`)).refused(422, "task.payload", "template")
			w.do("PUT", path(s), with("task", `{"kind":"echo","payload":`+payload+`}`)).refused(422, "task.payload", "template")
		}

		testkit.Says(t, "A resume sets the count to 0.")
		s = w.hourly("name", `"failing"`, "maxConsecutiveFailures", "1")
		run := decode[apiv1.Slot](w.do("POST", path(s)+"/trigger", "").want(201))
		worker, c := w.start(int64(run.TaskID))
		w.finish(worker, c, task.Failed, nil)
		ctx := context.Background()
		runs, err := w.store.EndedRuns(ctx, 10)
		if err != nil || len(runs) != 1 {
			t.Fatalf("%+v %v", runs, err)
		}
		if paused, err := w.store.Settle(ctx, int64(s.ID), runs, 1); !paused || err != nil {
			t.Fatalf("paused %v, %v", paused, err)
		}
		if got := w.read(s); got.ConsecutiveFailures != 1 || !got.Paused || *got.PausedReason != "failures" || got.NextAt != 0 {
			t.Errorf("%+v", got)
		}
		w.do("POST", path(s)+"/pause", "").want(200)
		if got := w.read(s); *got.PausedReason != "failures" {
			t.Errorf("%+v", got)
		}
		if got := decode[apiv1.Schedule](w.do("POST", path(s)+"/resume", "").want(200)); got.ConsecutiveFailures != 0 || got.Paused || got.PausedReason != nil || got.NextAt == 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestSaysOfTheSystemApp(t *testing.T) {
	w := newWorld(t)
	ctx := context.Background()
	if err := system.Install(ctx, w.store, w.store.Clock().Now(), system.Retention{SucceededMs: time.Hour.Milliseconds(), OthersMs: time.Hour.Milliseconds()}); err != nil {
		t.Fatal(err)
	}
	if n := len(decode[apiv1.List[apiv1.Schedule]](w.do("GET", "/v1/schedules", "").want(200)).Items); n != 0 {
		t.Errorf("%d schedules of the system app are in another app's list", n)
	}
	list := decode[apiv1.List[apiv1.Schedule]](w.do("GET", "/v1/schedules?app=system", "").want(200)).Items
	if len(list) < 2 || list[0].App != "system" {
		t.Fatalf("%+v", list)
	}
	testkit.Says(t, "They can be paused, resumed, triggered and skipped, but not changed, backfilled or deleted.")
	s := path(list[0])
	w.do("GET", s, "").want(404)
	for _, verb := range []string{"/pause", "/resume", "/skip-next"} {
		w.do("POST", s+verb+"?app=system", "").want(200)
	}
	w.do("POST", s+"/trigger?app=system", "").want(201)
	for _, c := range [][3]string{{"PUT", "", yearly}, {"DELETE", "", ""}, {"POST", "/backfill", `{"from":"2020-01-01T00:00:00Z","to":"2020-01-02T00:00:00Z"}`}} {
		if p := w.do(c[0], s+c[1]+"?app=system", c[2]).want(409).problem(); p.Code != "system_schedule" {
			t.Errorf("%+v", p)
		}
	}
	if p := w.do("POST", "/v1/schedules?app=system", yearly).want(409).problem(); p.Code != "system_schedule" {
		t.Errorf("%+v", p)
	}
	w.do("POST", "/v1/schedules", with("task", `{"kind":"system.purge"}`)).refused(422, "task.kind", "reserved")
}
