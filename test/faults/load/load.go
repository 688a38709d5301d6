package load

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
	"github.com/taskweir/taskweir/pkg/client"
	"github.com/taskweir/taskweir/test/faults/history"
)

// Load is clients and a sink that run.
type Load struct {
	o       Options
	name    string // prefix of its queues, keys and schedules
	app     string // public id of its app
	appID   int64
	apis    []*client.Client // with its app's key
	admin   *client.Client
	http    *http.Client
	sink    *sink
	db      *database
	agenda  *agenda
	tickets *tickets
	serial  atomic.Int64 // of ops
	turn    atomic.Int64 // of APIs
	from    int64        // the database's clock when it began, ms

	stopping atomic.Bool

	submits  context.CancelFunc // ends new submits
	submitWG sync.WaitGroup
	quit     context.CancelFunc // ends the rest
	wg       sync.WaitGroup

	mu        sync.Mutex
	ops       []history.Op
	clock     history.Clock
	schedules []history.Schedule
	recent    []int64 // tasks to look at
}

// Start makes an app, queues and schedules, and lets the clients begin. The APIs must be well: what is made here is not repeated.
func Start(ctx context.Context, o Options) (*Load, error) {
	if err := o.defaults(); err != nil {
		return nil, err
	}
	l := &Load{o: o, name: fmt.Sprintf("f%x", time.Now().UnixNano()/1000%(1<<40)), agenda: newAgenda(), tickets: newTickets(),
		http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: 20 * time.Second}}}
	if err := l.prepare(ctx); err != nil {
		return nil, errors.Join(err, l.close())
	}
	// Clients outlive ctx: Stop ends them.
	rest, quit := context.WithCancel(context.WithoutCancel(ctx))
	submits, end := context.WithCancel(rest)
	l.quit, l.submits = quit, end
	paced := make(chan int)
	l.submitWG.Go(func() { l.pace(submits, paced) })
	for range o.Clients {
		l.wg.Go(func() { l.work(rest, paced) })
	}
	l.agenda.add(peekEvery, l.peek)
	l.wg.Go(func() { l.readClock(rest) })
	l.wg.Go(func() { l.probe(rest) })
	return l, nil
}

// Now is the time of the history.
func (l *Load) Now() time.Duration { return time.Since(l.o.Began) }

// App is the public id of the load's app.
func (l *Load) App() string { return l.app }

// SinkAddr is where the sink listens.
func (l *Load) SinkAddr() string { return l.sink.addr }

// Progress is how much has happened so far: tasks that were answered 2xx, calls that reached the sink.
func (l *Load) Progress() (accepted, effects int) { return l.tickets.accepted(), l.sink.count() }

// prepare makes everything that clients need.
func (l *Load) prepare(ctx context.Context) (err error) {
	if l.db, err = openDatabase(ctx, l.o.Database); err != nil {
		return err
	}
	if l.from, err = l.db.now(ctx); err != nil {
		return err
	}
	if l.sink, err = openSink(l); err != nil {
		return err
	}
	if l.admin, err = l.client(l.o.APIs[0], l.o.Key, 5); err != nil {
		return err
	}
	if err := l.makeApp(ctx); err != nil {
		return err
	}
	if err := l.makeQueues(ctx); err != nil {
		return err
	}
	return l.makeSchedules(ctx)
}

// client makes a client of one API.
func (l *Load) client(api, key string, tries int) (*client.Client, error) {
	c, err := client.New(api, key, client.WithTimeout(l.o.PerTry), client.WithHTTPClient(l.http), client.WithRetry(client.RetryPolicy{Tries: tries}))
	if err != nil {
		return nil, fmt.Errorf("load: client of %s: %w", api, err)
	}
	return c, nil
}

func (l *Load) makeApp(ctx context.Context) error {
	app, err := l.admin.Apps.Create(ctx, apiv1.AppCreate{Name: l.name, CallbackURL: l.sink.url + "/callback"})
	if err != nil {
		return fmt.Errorf("load: make an app: %w", err)
	}
	l.app = app.ID
	key, err := l.admin.Apps.CreateKey(ctx, app.ID, apiv1.KeyCreate{Name: "load", Scope: apiv1.ScopeManage})
	if err != nil {
		return fmt.Errorf("load: make a key: %w", err)
	}
	for _, api := range l.o.APIs {
		c, err := l.client(api, key.Key, 1)
		if err != nil {
			return err
		}
		l.apis = append(l.apis, c)
	}
	l.appID, err = l.db.appID(ctx, app.ID)
	return err
}

// limits is how many limits makeQueues makes.
func (l *Load) limits() int {
	if l.o.NoLimitKey {
		return 1
	}
	return 2
}

// makeQueues makes the queues that are not plain: the limited one, and the paused one in which tasks expire; and the limit key.
func (l *Load) makeQueues(ctx context.Context) error {
	limit := l.o.Limit
	if _, err := l.admin.Queues.Put(ctx, l.queue(limited), apiv1.QueueUpdate{Limits: &apiv1.Limits{Concurrency: &limit}}); err != nil {
		return fmt.Errorf("load: make the limited queue: %w", err)
	}
	if l.o.NoLimitKey {
		return nil
	}
	// The key is its app's: the load's own.
	if _, err := l.apis[0].LimitKeys.Put(ctx, l.queue(limitKey), apiv1.LimitKeyUpdate{Limits: &apiv1.Limits{Concurrency: &limit}}); err != nil {
		return fmt.Errorf("load: make the limit key: %w", err)
	}
	if _, err := l.admin.Queues.Put(ctx, l.queue(paused), apiv1.QueueUpdate{Paused: true}); err != nil {
		return fmt.Errorf("load: make the paused queue: %w", err)
	}
	return nil
}

// keptRecent is how many tasks clients look at again.
const keptRecent = 512

// queue is the full name of one of the load's queues.
func (l *Load) queue(short string) string { return l.name + "-" + short }

// record adds an op to the history.
func (l *Load) record(o history.Op) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ops = append(l.ops, o)
	if o.Kind != history.OpSubmit && o.Kind != history.OpBatch {
		return
	}
	for i := range o.Items {
		if o.Items[i].Task == 0 {
			continue
		}
		if len(l.recent) < keptRecent {
			l.recent = append(l.recent, o.Items[i].Task)
		} else {
			l.recent[o.N%keptRecent] = o.Items[i].Task
		}
	}
}

// close ends what prepare and Start began.
func (l *Load) close() error {
	if l.quit != nil {
		l.submits()
		l.submitWG.Wait()
		l.quit()
		l.wg.Wait()
	}
	var errs []error
	if l.sink != nil {
		errs = append(errs, l.sink.close())
	}
	if l.db != nil {
		errs = append(errs, l.db.close())
	}
	l.http.CloseIdleConnections()
	return errors.Join(errs...)
}
