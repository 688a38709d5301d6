package sqldb_test

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/cron"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/sqldb/sqldbtest"
	"github.com/taskweir/taskweir/internal/task"
)

// The property test of schedules: three schedulers plan, fire, release and settle the same 50 schedules, on MySQL from two
// processes, with pauses anywhere, calls that are given up and COMMITs whose answer is lost; two people pause, resume, edit,
// skip, trigger and backfill; two workers run what is due. While it runs, no two runs of a schedule may be under way where its
// policy forbids that. At its end every planned slot has exactly one row, every fired one exactly one task, every task its
// slot, and every run that ended was counted once.
//
// TASKWEIR_PROPERTY_SECONDS makes it longer than 3 s, TASKWEIR_PROPERTY_SEED repeats the choices of a run.

// fleet is one run.
type fleet struct {
	*world
	seed     uint64
	stores   []*sqldb.Store
	planning atomic.Bool // slots are planned; off at the end, while the rest is worked off
	faulty   atomic.Bool
	done     atomic.Bool
	things   []*subject

	mu      sync.Mutex
	running map[int64]int // by schedule, as far as the workers know
	shots   int           // fired, by what callers were told
	lost    int
}

// subject is one schedule with what its people did to it.
type subject struct {
	mu      sync.Mutex // one person at a time
	id      int64
	first   int64
	serial  bool // no two runs at once
	failing bool // its runs never succeed
	acts    []act
	asked   map[[2]int64]bool // backfilled: (origin, slot)
}

// act is a definition that is in force for the slots later than from.
type act struct {
	from  int64
	until int64               // when it was surely written: slots of the one before up to then may have begun
	times *schedule.Timetable // nil: paused
}

func TestSchedulesUnderRandomInterleavings(t *testing.T) {
	for _, kind := range []string{"sqlite", "mysql"} {
		t.Run(kind, func(t *testing.T) {
			sqldbtest.Beside(t)
			url := sqldbtest.URL(t, kind)
			s := sqldbtest.Open(t, url)
			c := &fleet{world: newWorld(t, s), seed: uint64(time.Now().UnixNano()), stores: []*sqldb.Store{s}, running: map[int64]int{}}
			if v, err := strconv.ParseUint(os.Getenv("TASKWEIR_PROPERTY_SEED"), 10, 64); err == nil {
				c.seed = v
			}
			t.Logf("seed %d", c.seed)
			c.populate()
			if kind == "mysql" {
				c.stores = append(c.stores, sqldbtest.Open(t, url))
				for _, s := range c.stores {
					sqldb.HookMySQL(t, s, url, c.loseCommits)
				}
			}
			c.run()
		})
	}
}

// loseCommits makes one of 60 COMMITs unknown: half of them happened.
func (c *fleet) loseCommits(query string, _ func() ([][2]string, error), run func() error) error {
	if !sqldb.IsCommit(query) || !c.faulty.Load() {
		return run()
	}
	switch rand.IntN(120) {
	case 0:
		if err := run(); err != nil {
			return err
		}
		return driver.ErrBadConn
	case 1:
		return driver.ErrBadConn
	}
	return run()
}

// rule50 is the definition of a schedule: each second at a phase of its own.
func (c *fleet) times50(i int, phase int64) *schedule.Timetable {
	return c.definition(func(d *schedule.Definition) {
		d.Spec = cron.Spec{EveryMs: 1000, Anchor: 1 + phase%1000}
		d.Overlap, d.Misfire = schedule.Overlap(i%4), schedule.Misfire(i/4%3)
		d.MaxAgeMs, d.MaxFailures = 15_000, 1000
		if i%5 == 0 {
			d.JitterMs = 300
		}
	})
}

func (c *fleet) populate() {
	for i := range 50 {
		times := c.times50(i, int64(i)*37)
		row := c.newRow(fmt.Sprint("s", i), times)
		row.NextAt = times.Next(c.now() - 20_000)
		row, _, _, err := c.s.CreateSchedule(c.ctx, row, nil, nil)
		c.must(err)
		c.things = append(c.things, &subject{id: row.ID, first: row.NextAt, serial: i%4 != 0, failing: i%3 == 0, asked: map[[2]int64]bool{},
			acts: []act{{from: row.NextAt - 1, times: times}}})
	}
}

func (c *fleet) any(r *rand.Rand) *sqldb.Store { return c.stores[r.IntN(len(c.stores))] }

func (c *fleet) thing(id int64) *subject {
	return c.things[slices.IndexFunc(c.things, func(x *subject) bool { return x.id == id })]
}

func (c *fleet) run() {
	seconds := 3.0
	if v, err := strconv.ParseFloat(os.Getenv("TASKWEIR_PROPERTY_SECONDS"), 64); err == nil {
		seconds = v
	}
	c.planning.Store(true)
	c.faulty.Store(true)
	var people, rest sync.WaitGroup
	start := func(wg *sync.WaitGroup, n uint64, live func() bool, step func(r *rand.Rand)) {
		for i := range n {
			r := rand.New(rand.NewPCG(c.seed, n<<8+i))
			wg.Go(func() {
				for live() && !c.t.Failed() {
					step(r)
					time.Sleep(time.Duration(r.IntN(6)) * time.Millisecond)
				}
			})
		}
	}
	going := func() bool { return !c.done.Load() }
	start(&people, 2, c.planning.Load, c.disturb)
	start(&rest, 3, going, c.scheduler)
	start(&rest, 4, going, c.worker)
	start(&rest, 1, going, c.watch)
	for from := time.Now(); time.Since(from).Seconds() < seconds && !c.t.Failed(); {
		time.Sleep(20 * time.Millisecond)
	}
	c.planning.Store(false)
	c.faulty.Store(false)
	people.Wait()
	for _, x := range c.things {
		c.resume(c.s, x)
	}
	for from := time.Now(); c.count("SELECT (SELECT COUNT(*) FROM schedule_runs WHERE state<2)+(SELECT COUNT(*) FROM held_slots)") > 0; {
		if time.Sleep(10 * time.Millisecond); time.Since(from) > 60*time.Second || c.t.Failed() {
			c.t.Errorf("not everything ended: %d runs open, %d held", c.count("SELECT COUNT(*) FROM schedule_runs WHERE state<2"), c.count("SELECT COUNT(*) FROM held_slots"))
			break
		}
	}
	c.done.Store(true)
	rest.Wait()
	c.check()
}

// scheduler is one round of one scheduler, which may be stopped anywhere.
func (c *fleet) scheduler(r *rand.Rand) {
	ctx, s := c.ctx, c.any(r)
	if c.faulty.Load() && r.IntN(8) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(8_000))*time.Microsecond)
		defer cancel()
	}
	if c.planning.Load() {
		c.plan(ctx, s, r)
	}
	held, err := s.Releasable(ctx, 20)
	c.passable("releasable", err)
	for _, slot := range held {
		row, times, ok := c.read(ctx, s, slot.ScheduleID)
		if !ok {
			continue
		}
		first, err := s.TaskIDs(ctx, 1)
		if c.passable("ids", err) {
			continue
		}
		slot.Outcome, slot.FiredAt = schedule.Fired, s.Clock().Now()
		pause(r)
		_, err = s.ReleaseSlot(ctx, &schedule.Fire{ID: row.ID, Version: row.Version, AppID: row.AppID, Overlap: times.Overlap, Tracked: true,
			Shots: []schedule.Shot{times.Shot(&row, slot, first)}})
		c.passable("release", err)
	}
	runs, err := s.EndedRuns(ctx, 30)
	c.passable("ended", err)
	bySchedule := map[int64][]schedule.Run{}
	for _, run := range runs {
		bySchedule[run.ScheduleID] = append(bySchedule[run.ScheduleID], run)
	}
	for id, some := range bySchedule {
		pause(r)
		_, err := s.Settle(ctx, id, some, 1000)
		c.passable("settle", err)
	}
}

// pause is where others come in between, or not.
func pause(r *rand.Rand) {
	if r.IntN(4) == 0 {
		time.Sleep(time.Duration(r.IntN(3_000)) * time.Microsecond)
	}
}

// passable reports whether a call failed in a way that it may while calls are given up and connections are lost.
func (c *fleet) passable(what string, err error) bool {
	if err != nil && !task.Transient(err) && task.KindOf(err) != task.Conflict {
		c.t.Errorf("%s: %v", what, err)
	}
	return err != nil
}

func (c *fleet) read(ctx context.Context, s *sqldb.Store, id int64) (schedule.Row, *schedule.Timetable, bool) {
	row, err := s.ScheduleByID(ctx, 0, id)
	if c.passable("read", err) {
		return row, nil, false
	}
	d, err := schedule.DecodeDefinition(row.Definition)
	c.fatal(err)
	times, err := schedule.Compile(d)
	c.fatal(err)
	return row, times, true
}

func (c *fleet) fatal(err error) {
	if err != nil {
		c.t.Error(err)
	}
}

// plan fires what is due.
func (c *fleet) plan(ctx context.Context, s *sqldb.Store, r *rand.Rand) {
	now := s.Clock().Now()
	due, err := s.DueSchedules(ctx, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, now+schedule.LookAheadMs, 1+r.IntN(60))
	if c.passable("due", err) {
		return
	}
	var fires []*schedule.Fire
	for _, one := range due {
		row, times, ok := c.read(ctx, s, one.ID)
		if !ok || row.Pause != schedule.NotPaused {
			continue
		}
		p := times.Plan(row.NextAt, now, 1+r.IntN(7))
		if f := c.fireOf(ctx, s, row, times, p); f != nil {
			fires = append(fires, f)
		}
	}
	pause(r)
	if len(fires) == 0 {
		return
	}
	_, err = s.Fire(ctx, fires)
	if c.passable("fire", err) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, f := range fires {
		if f.Lost {
			c.lost++
			continue
		}
		c.shots += len(f.Shots)
	}
}

// fireOf makes the fire of a plan; nil when there is nothing to do.
func (c *fleet) fireOf(ctx context.Context, s *sqldb.Store, row schedule.Row, times *schedule.Timetable, p schedule.Plan) *schedule.Fire {
	if len(p.Slots) == 0 {
		return nil
	}
	first, err := s.TaskIDs(ctx, len(p.Slots))
	if c.passable("ids", err) {
		return nil
	}
	f := &schedule.Fire{ID: row.ID, Version: row.Version, AppID: row.AppID, From: row.NextAt, Next: p.Next, Overlap: times.Overlap, Tracked: times.Tracked()}
	for i, slot := range p.Slots {
		f.Shots = append(f.Shots, times.Shot(&row, slot, first+int64(i)))
	}
	return f
}
