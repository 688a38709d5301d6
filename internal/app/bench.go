package app

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/pflag"

	"github.com/taskweir/taskweir/internal/bench"
	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/runner/system"
	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// Bench is "taskweir bench": it measures a whole installation in this process, on embedded parts in a folder of its own
// unless servers are named by the settings of standalone. Never point it at a database that is in use.
func Bench(ctx context.Context, args, environ []string, out, errs io.Writer) error {
	tuneGC(environ)
	b := benchRun{errs: errs}
	fs := pflag.NewFlagSet("bench", pflag.ContinueOnError)
	fs.SetOutput(errs)
	fs.SortFlags = false
	quick := fs.Bool("quick", false, "rough figures within half a minute")
	rounds := fs.Int("rounds", 0, "rounds whose median is shown, 1 to 25 (default 3, quick 1)")
	only := fs.StringSlice("only", nil, "measure only these steps: "+strings.Join(bench.Steps(), ", "))
	purge := fs.Bool("purge", false, "delete old tasks meanwhile, as the platform's purge does")
	format := fs.StringP("output", "o", "markdown", "markdown or json")
	profile := fs.String("cpuprofile", "", "write a CPU profile of this process to this file")
	pids := fs.StringSlice("pid", nil, "name=process of a server whose processor time is shown (repeat)")
	config.AddFlags(fs, config.Standalone)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return nil
		}
		return err
	}
	o := bench.Defaults()
	if *quick {
		o = bench.Quick()
	}
	if *rounds != 0 {
		o.Rounds = *rounds
	}
	o.Progress, o.Only, o.Purge = errs, *only, *purge
	var err error
	if o.Processes, err = processes(*pids); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "taskweir-bench-*")
	if err != nil {
		return fmt.Errorf("bench folder: %w", err)
	}
	defer os.RemoveAll(dir)
	if b.cfg, err = benchConfig(fs, environ, dir); err != nil {
		return err
	}
	if fs.Changed("worker-slots") {
		o.Slots = b.cfg.Worker.Slots
	}
	stopProfile, err := startProfile(*profile)
	if err != nil {
		return err
	}
	report, err := bench.Run(ctx, o, b.open)
	err = errors.Join(err, stopProfile())
	if report == nil {
		return err
	}
	if *format == "json" {
		return errors.Join(err, report.JSON(out))
	}
	return errors.Join(err, report.Markdown(out))
}

// benchConfig is the configuration of a standalone in a folder of its own, whatever is configured: the default one may be
// that of a standalone in use.
func benchConfig(fs *pflag.FlagSet, environ []string, dir string) (*config.Config, error) {
	for name, value := range map[string]string{"data-dir": dir, "http-addr": "127.0.0.1:0"} {
		if err := fs.Set(name, value); err != nil {
			return nil, err
		}
	}
	return config.LoadFlags(config.Standalone, fs, environ)
}

// startProfile writes a CPU profile until it is stopped; no file: none.
func startProfile(file string) (stop func() error, err error) {
	if file == "" {
		return func() error { return nil }, nil
	}
	f, err := os.Create(file)
	if err != nil {
		return nil, fmt.Errorf("--cpuprofile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, errors.Join(fmt.Errorf("--cpuprofile: %w", err), f.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return f.Close()
	}, nil
}

func processes(pids []string) (map[string]int, error) {
	out := map[string]int{}
	for _, p := range pids {
		name, text, _ := strings.Cut(p, "=")
		pid, err := strconv.Atoi(text)
		if name == "" || err != nil || pid <= 0 {
			return nil, fmt.Errorf("--pid %q: must be name=process id", p)
		}
		out[name] = pid
	}
	return out, nil
}

// benchRun opens systems one after another on the same database.
type benchRun struct {
	cfg  *config.Config
	errs io.Writer
}

func (b *benchRun) open(ctx context.Context, s bench.Settings) (bench.System, error) {
	cfg := *b.cfg
	cfg.Worker.Slots = s.Slots
	log := slog.New(slog.NewTextHandler(b.errs, &slog.HandlerOptions{Level: max(cfg.Log.Level, slog.LevelWarn)}))
	a, err := Start(ctx, &cfg, Options{Logger: log, Runners: []worker.Runner{s.Runner}})
	if err != nil {
		return nil, err
	}
	sys := &benchSystem{App: a, purges: s.Purge, clients: map[string]*benchClient{}}
	if err := sys.prepare(ctx); err != nil {
		return nil, errors.Join(err, a.Stop())
	}
	return sys, nil
}

// benchSystem shows a running process to the bench.
type benchSystem struct {
	*App
	admin  control.Principal
	yard   *sql.DB
	purges bool
	purge  int64             // the task that purges; 0: none
	system control.Principal // whose it is

	mu      sync.Mutex
	clients map[string]*benchClient
}

func (s *benchSystem) prepare(ctx context.Context) (err error) {
	if s.admin, err = s.service.Authenticate(ctx, s.APIKey()); err != nil {
		return err
	}
	if err = s.quietSystem(ctx); err != nil {
		return err
	}
	s.yard, err = sqldb.OpenYard(ctx, s.cfg.Database.URL.Reveal(), filepath.Join(s.cfg.DataDir, "yard"))
	return err
}

// quietSystem pauses the platform's own schedules: the bench finds its tasks by ranges of ids, in which no other may be. A purge,
// if one is wanted, gets its id before all of them.
func (s *benchSystem) quietSystem(ctx context.Context) error {
	app, err := s.store.AppByKey(ctx, task.SystemApp)
	if err != nil {
		return err
	}
	rows, _, err := s.store.ListSchedules(ctx, schedule.Filter{AppID: app.ID, Limit: 100})
	if err != nil {
		return err
	}
	who := s.admin
	who.App = app
	for _, r := range rows {
		if s.purges && r.Name == system.NamePurge {
			slot, _, err := s.service.TriggerSchedule(ctx, who, r.ID, nil)
			if err != nil {
				return err
			}
			s.purge, s.system = slot.TaskID, who
		}
		if _, err := s.service.PauseSchedule(ctx, who, r.ID, true, func(schedule.Row) error { return nil }); err != nil {
			return err
		}
	}
	return nil
}

// Name says what the system runs on.
func (s *benchSystem) Name() string {
	db, broker, live := "SQLite", "embedded nsqd", "embedded Redis"
	if s.store.MySQL() {
		db = "MySQL or MariaDB"
	}
	if len(s.cfg.NSQ.Nsqd)+len(s.cfg.NSQ.Lookupd) > 0 {
		broker = "nsqd"
	}
	if s.cfg.Redis.URL.IsSet() {
		live = "Redis"
	}
	return db + ", " + broker + ", " + live
}

// BaseURL is the API's address.
func (s *benchSystem) BaseURL() string { return s.URL() }

// Now is the database's clock.
func (s *benchSystem) Now() int64 { return s.clock.Now() }

// DB reads the system's database.
func (s *benchSystem) DB() *sql.DB { return s.store.Reader() }

// Yard is where the yardstick writes.
func (s *benchSystem) Yard() *sql.DB { return s.yard }

// SQLite tells the dialect.
func (s *benchSystem) SQLite() bool { return !s.store.MySQL() }

// Pause stops a queue, which is made when it does not exist.
func (s *benchSystem) Pause(ctx context.Context, queue string) error {
	return s.setPaused(ctx, queue, true)
}

// Resume lets it go on.
func (s *benchSystem) Resume(ctx context.Context, queue string) error {
	return s.setPaused(ctx, queue, false)
}

func (s *benchSystem) setPaused(ctx context.Context, queue string, paused bool) error {
	if _, err := s.store.EnsureLane(ctx, queue, task.Normal); err != nil {
		return err
	}
	_, err := s.service.SetQueuePaused(ctx, s.admin, queue, paused)
	return err
}

// Close drains and ends everything. A purge that still runs would be waited for, and go on with the next system.
func (s *benchSystem) Close(ctx context.Context) error {
	var err error
	if s.purge != 0 {
		_, err = s.service.Cancel(ctx, s.system, s.purge, 5*time.Second)
	}
	return errors.Join(err, s.yard.Close(), s.Stop())
}

// Client makes the app of a name at first use.
func (s *benchSystem) Client(ctx context.Context, name string) (bench.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.clients[name]; c != nil {
		return c, nil
	}
	app, _, err := s.service.CreateApp(ctx, s.admin, control.AppInput{Name: control.Some(name)})
	if err != nil {
		return nil, err
	}
	_, key, err := s.service.CreateAPIKey(ctx, s.admin, app.Key, name, "manage")
	if err != nil {
		return nil, err
	}
	p, err := s.service.Authenticate(ctx, key)
	if err != nil {
		return nil, err
	}
	c := &benchClient{service: s.service, who: p, key: key}
	s.clients[name] = c
	return c, nil
}

// benchClient submits through the same use case as HTTP.
type benchClient struct {
	service *control.Service
	who     control.Principal
	key     string
}

// Key is the app's API key.
func (c *benchClient) Key() string { return c.key }

// schedulers is how many schedules are made or deleted at once.
const schedulers = 64

// Schedule makes schedules.
func (c *benchClient) Schedule(ctx context.Context, list ...bench.Schedule) ([]int64, error) {
	ids := make([]int64, len(list))
	return ids, atOnce(len(list), func(i int) error {
		s := list[i]
		in := &control.ScheduleInput{Name: control.Some(s.Name), Task: &control.Input{Kind: s.Task.Kind, Queue: s.Task.Queue, Payload: s.Task.Payload}}
		in.Spec = &control.SpecInput{}
		if s.At != 0 {
			in.Spec.At = control.Some(s.At)
		} else {
			in.Spec.EveryMs, in.Spec.Anchor = control.Some(s.EveryMs), control.Some(s.Anchor)
			in.StartAt, in.EndAt = control.Some(s.StartAt), control.Some(s.EndAt)
		}
		got, _, err := c.service.CreateSchedule(ctx, c.who, in, nil)
		ids[i] = got.ID
		return err
	})
}

// Unschedule deletes them.
func (c *benchClient) Unschedule(ctx context.Context, ids ...int64) error {
	return atOnce(len(ids), func(i int) error {
		return c.service.DeleteSchedule(ctx, c.who, ids[i], func(schedule.Row) error { return nil })
	})
}

// atOnce calls do for 0 … n-1, many at once, until one fails.
func atOnce(n int, do func(i int) error) error {
	var next atomic.Int64
	errs := make([]error, schedulers)
	var wg sync.WaitGroup
	for k := range errs {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && errs[k] == nil; i = int(next.Add(1)) - 1 {
				if errs[k] = do(i); errs[k] != nil {
					next.Add(int64(n))
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Submit stores all tasks or none.
func (c *benchClient) Submit(ctx context.Context, tasks ...bench.Task) ([]int64, error) {
	ins := make([]*control.Input, len(tasks))
	for i, t := range tasks {
		in := &control.Input{Kind: t.Kind, Queue: t.Queue, Payload: t.Payload}
		if t.DueAt != 0 {
			in.RunAt = control.Some(t.DueAt)
		}
		if t.NoRetry {
			in.Retry = &control.RetryInput{Max: control.Some[int64](0)}
		}
		ins[i] = in
	}
	if len(ins) == 1 {
		got, err := c.service.Submit(ctx, c.who, ins[0], nil)
		return []int64{got.View.ID}, err
	}
	items, _, err := c.service.SubmitBatch(ctx, c.who, ins, nil)
	ids := make([]int64, len(items))
	for i, item := range items {
		if item.Err != nil && err == nil {
			err = item.Err
		}
		ids[i] = item.View.ID
	}
	return ids, err
}
