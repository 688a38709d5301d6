// Command growth is "make growth": what becomes of Taskweir's speed when its tables grow.
//
// It starts a private MariaDB with default durability, nsqd and Redis, and makes several databases in the one server: one
// without finished tasks, one with a million, one with ten million, and one with a million finished and a million waiting. It
// takes the same measures of all of them in turns, round by round, so that what counts are ratios of the same minutes:
//
//	speed     drain, steady work, promotion and pickup, by "taskweir bench" (internal/bench), the largest also while its old
//	          tasks are purged
//	lists     every filter of GET /v1/tasks, the first page and one from the middle, and GET /v1/stats of a day
//	memory    of api, scheduler and worker beside a million waiting tasks
//	downtime  everything is off while a million tasks become due, then everything starts at once, beside ten million finished
//
// It fails when something did not work or a task was lost or doubled, never because something was slow; then nothing is written to
// docs/benchmarks, and what was measured is kept in a temporary file.
//
// Decisions. The rows are written by INSERT … SELECT from numbers, in the form in which Taskweir leaves them (fill.go), since
// a day of real work cannot be waited for; they end over the last nine days, so that two in nine are beyond the retention of
// seven. The largest database gets nine sevenths of its rows: a purge that runs while it is measured never leaves it fewer than its
// name says. Between two databases the topics of nsqd are deleted, which both would use. The database without finished tasks is emptied before each round: what the bench leaves there counts too. The
// buffer pool is far smaller than the tables: a server whose memory holds everything would show nothing.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	var o options
	flag.IntVar(&o.large, "rows", 10_000_000, "finished tasks of the largest database")
	flag.IntVar(&o.middle, "middle", 1_000_000, "finished tasks of the second; 0: without it")
	flag.IntVar(&o.waiting, "waiting", 1_000_000, "waiting tasks")
	flag.IntVar(&o.due, "due", 1_000_000, "tasks that are due at once after the downtime")
	flag.IntVar(&o.rounds, "rounds", 3, "rounds whose median is shown")
	flag.IntVar(&o.pages, "pages", 20, "how often each page of a list is asked for")
	flag.IntVar(&o.poolMiB, "pool", 1024, "the server's buffer pool, in MiB")
	flag.BoolVar(&o.quick, "quick", false, "rough figures: short measures (see taskweir bench --quick)")
	flag.StringVar(&o.only, "only", "", "a comma list of "+strings.Join(parts, ", ")+"; empty: all")
	flag.BoolVar(&o.write, "write", false, "write docs/benchmarks/growth.md and growth.json too")
	flag.BoolVar(&o.hold, "hold", false, "at the end, say where the server is and wait for Ctrl-C: to look at plans")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "growth:", err)
		os.Exit(1)
	}
}

type options struct {
	large, middle, waiting, due, rounds, pages, poolMiB int
	quick, write, hold                                  bool
	only                                                string
}

// parts are what -only names.
var parts = []string{"speed", "lists", "memory", "downtime"}

func (o options) takes(part string) bool {
	return o.only == "" || strings.Contains(","+o.only+",", ","+part+",")
}

func (o options) check() error {
	for name := range strings.SplitSeq(o.only, ",") {
		if o.only != "" && !strings.Contains(" "+strings.Join(parts, " ")+" ", " "+name+" ") {
			return fmt.Errorf("-only: %q is none of %s", name, strings.Join(parts, ", "))
		}
	}
	if o.write && (o.quick || o.only != "" || o.rounds < 2) {
		return errors.New("only a whole run is written: -write goes with -rounds 2 or more, and without -quick and -only")
	}
	if o.large < 1 || o.middle < 0 || o.waiting < 0 || o.due < 1 || o.rounds < 1 || o.pages < 1 {
		return errors.New("numbers must be positive")
	}
	return nil
}

// The disk that is needed: each task with all that hangs on it and all indexes, and the server's logs and sorting.
const (
	rowBytes  = 850
	restBytes = 3 << 30
)

var errSmall = errors.New("has too little room: set TMPDIR to a folder with more, or take fewer rows")

// fits says whether the databases have room on a disk, and whether what is written is measured on one.
func (o options) fits(d testkit.Disk) error {
	if err := d.Durable(); err != nil && o.write {
		return err
	}
	need := int64(o.filled()+2*o.middle+o.waiting+o.due)*rowBytes + restBytes
	if d.Free >= 0 && d.Free < need {
		return fmt.Errorf("%w: %d GB are free, and about %d are needed", errSmall, d.Free/1e9, need/1e9)
	}
	return nil
}

// filled is how many tasks the largest database begins with: what a purge may take comes on top of its size.
func (o options) filled() int { return o.large * fillDays / retentionDays }

// kit is what every part works with.
type kit struct {
	o        options
	servers  *testkit.Servers
	programs testkit.Programs
	keys     testkit.Keys
	began    time.Time
	report   *report
}

// say tells how far the command is.
func (k *kit) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "growth %5.0f s: "+format+"\n", append([]any{time.Since(k.began).Seconds()}, args...)...)
}

func run(ctx context.Context, o options) (err error) {
	if err := o.check(); err != nil {
		return err
	}
	missing := testkit.MissingServers(ctx)
	if len(missing) > 0 {
		if err := (testkit.Installer{Out: os.Stderr}).Install(ctx, missing); err != nil {
			return err
		}
	}
	dir, err := testkit.TempDir()
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	disk, err := testkit.DiskOf(dir)
	if err != nil {
		return err
	}
	if err := o.fits(disk); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	k := &kit{o: o, keys: testkit.NewKeys(), began: time.Now()}
	k.say("building")
	if k.programs, err = testkit.BuildPrograms(ctx, dir); err != nil {
		return err
	}
	if k.servers, err = testkit.StartServers(ctx, testkit.ServersOptions{MariaDB: testkit.MariaDBOptions{BufferPoolMiB: o.poolMiB, LogFileMiB: 1024}}); err != nil {
		return err
	}
	defer func() {
		if o.hold {
			k.say("MariaDB is at %s (root, no password)", k.servers.MariaDB.Addr())
			<-ctx.Done()
		}
		if cerr := k.servers.Close(); err == nil {
			err = cerr
		}
	}()
	if k.report, err = newReport(ctx, k, disk); err != nil {
		return err
	}
	err = k.measure(ctx)
	if len(k.report.Figures) == 0 {
		return err
	}
	k.report.finish(time.Since(k.began))
	err = errors.Join(err, k.report.print(os.Stdout))
	switch {
	case !o.write:
		return err
	case err != nil:
		return errors.Join(err, k.report.keep())
	}
	return k.report.save()
}

func (k *kit) measure(ctx context.Context) error {
	all, err := k.fillAll(ctx)
	if err != nil {
		return err
	}
	for _, part := range []struct {
		name string
		do   func(context.Context, []*database) error
	}{{"speed", k.speed}, {"lists", k.lists}, {"memory", k.memory}, {"downtime", k.downtime}} {
		if !k.o.takes(part.name) {
			continue
		}
		if err := part.do(ctx, all); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
