package cli

import (
	"context"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

const (
	topFailures = 100 // newest failed tasks that are grouped
	topRunning  = 8   // workers, the newest first, whose running tasks are asked for
	// topWindow is what the first look's rates are averaged over; later ones compare two looks.
	topWindow = apiv1.Time(60_000)
)

// snapshot is one look at everything.
type snapshot struct {
	at       apiv1.Time // by the server's clock; 0: it does not tell
	queues   []topQueue
	workers  []apiv1.Worker
	failures []topFailure
	limited  bool // more failed than were looked at
	noStats  string
}

// topQueue is a queue with its rates.
type topQueue struct {
	apiv1.Queue
	in, out float64 // a second; negative: not known
}

// topFailure is a group of failed tasks whose errors look alike.
type topFailure struct {
	text        string // the newest one's error
	kind, queue string
	count       int
	newest      apiv1.Time
	task        apiv1.ID // the newest one
}

// looker takes snapshots. Rates come from counters that only grow: what they grew by between two looks.
type looker struct {
	p    *program
	c    *client
	now  func() time.Time // monotonic
	from apiv1.Time       // where counting began
	last map[string]counters
	when time.Time // of last
}

// counters are what a queue has taken and ended since looking began.
type counters struct{ in, out int64 }

// look asks for everything once.
func (l *looker) look(ctx context.Context) (*snapshot, error) {
	if l.p.faulty != nil {
		l.p.faulty()
	}
	s := &snapshot{}
	queues, _, err := fetch[apiv1.List[apiv1.Queue]](ctx, l.c, get("/v1/queues", l.p.parameters("limit", "1000")))
	if err != nil {
		return nil, err
	}
	s.at = l.c.clock.at()
	rates, err := l.rates(ctx, s.at)
	if err != nil {
		if s.noStats = "no rates: " + firstLine(err); ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	for _, q := range queues.Items {
		row := topQueue{Queue: q, in: -1, out: -1}
		if err == nil {
			row.in, row.out = rates[q.Name][0], rates[q.Name][1]
		}
		s.queues = append(s.queues, row)
	}
	if s.workers, err = l.workers(ctx); err != nil {
		return nil, err
	}
	failed, _, err := fetch[apiv1.TaskList](ctx, l.c, get("/v1/tasks", l.p.parameters("state", "failed", "limit", strconv.Itoa(topFailures))))
	if err != nil {
		return nil, err
	}
	s.failures, s.limited = grouped(failed.Items), failed.NextCursor != ""
	return s, nil
}

func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return clean(line)
}

// rates gives in and out a second of every queue.
func (l *looker) rates(ctx context.Context, now apiv1.Time) (map[string][2]float64, error) {
	if l.from == 0 {
		l.from = now - topWindow
	}
	s, _, err := fetch[apiv1.Stats](ctx, l.c, get("/v1/stats", l.p.parameters("by", "queue", "from", l.from.String(), "stepMs", "60000")))
	if err != nil {
		return nil, err
	}
	sums := map[string]counters{}
	for _, x := range s.Items {
		n := sums[x.Key]
		n.in += x.Submitted
		n.out += x.Succeeded + x.Failed + x.Cancelled
		sums[x.Key] = n
	}
	taken := l.now()
	seconds := taken.Sub(l.when).Seconds()
	if l.last == nil {
		seconds = float64(now-s.From) / 1000
	}
	out := map[string][2]float64{}
	for name, n := range sums {
		before := l.last[name]
		out[name] = [2]float64{max(0, float64(n.in-before.in)) / max(seconds, 0.1), max(0, float64(n.out-before.out)) / max(seconds, 0.1)}
	}
	l.last, l.when = sums, taken
	return out, nil
}

// workers lists the workers, the first ones with what they run.
func (l *looker) workers(ctx context.Context) ([]apiv1.Worker, error) {
	list, _, err := fetch[apiv1.List[apiv1.Worker]](ctx, l.c, get("/v1/workers", url.Values{"limit": {"1000"}}))
	if err != nil {
		return nil, err
	}
	asked := 0
	for i := range list.Items {
		w := &list.Items[i]
		if w.State == "gone" || asked == topRunning {
			continue
		}
		asked++
		// Without Redis, or when it has just gone, a worker is shown without what it runs.
		if whole, _, err := fetch[apiv1.Worker](ctx, l.c, get("/v1/workers/"+w.ID.String(), nil)); err == nil {
			w.Running = whole.Running
		} else if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	return list.Items, nil
}

// alike is what differs between errors that mean the same.
var alike = regexp.MustCompile(`[0-9a-fA-F]{8,}|[0-9]+`)

// grouped puts failed tasks together whose errors differ in numbers only, newest group first.
func grouped(tasks []apiv1.Task) []topFailure {
	var out []topFailure
	index := map[string]int{}
	for _, t := range tasks {
		text := errorText(t.Error)
		if text == "" {
			text = t.Reason
		}
		key := t.Kind + "\x00" + t.Queue + "\x00" + alike.ReplaceAllString(text, "#")
		i, ok := index[key]
		if !ok {
			i = len(out)
			index[key] = i
			out = append(out, topFailure{text: text, kind: t.Kind, queue: t.Queue})
		}
		g := &out[i]
		g.count++
		if t.FinishedAt >= g.newest {
			g.newest, g.task, g.text = t.FinishedAt, t.ID, text
		}
	}
	slices.SortStableFunc(out, func(a, b topFailure) int { return int(b.newest - a.newest) })
	return out
}
