package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) top() *cobra.Command {
	var once bool
	var every time.Duration
	var width int
	cmd := &cobra.Command{
		Use: "top", Short: "Live screen of queues, workers and failures", Args: arguments(0, 0, ""),
		Long: `Shows every queue with what waits, since when, what comes in and goes out a second, what runs and its limits; the workers with their
slots, last beat and what they run; the newest failures, those whose errors look alike together.

  q            quit
  tab          the next pane; shift-tab the one before
  ↑ ↓ j k      select; page up, page down, home, end too
  s r          sort by the next column; the other way round
  p            pause or resume the selected queue, after a question
  d            drain the selected worker, after a question
  ctrl-l       draw anew

With --once one screen is printed, for pipes.`,
	}
	p.apiFlags(cmd)
	p.appFlag(cmd)
	cmd.Flags().BoolVar(&once, "once", false, "print one screen and end")
	cmd.Flags().DurationVar(&every, "interval", 2*time.Second, "how often to look, 200ms at least")
	cmd.Flags().IntVar(&width, "width", 0, "with --once: columns (default: the terminal's, or 100)")
	cmd.RunE = p.connected(func(ctx context.Context, c *client, _ []string) error {
		switch {
		case p.json() || p.quiet:
			return usage(errors.New("top is for people: use queues list, workers list and tasks list with -o json or -q"))
		case every < 200*time.Millisecond:
			return usage(errors.New("--interval: must be 200ms or more"))
		case once:
			return p.topOnce(ctx, c, width)
		}
		return ignoreInterrupt(p.topLive(ctx, c, every))
	})
	return cmd
}

func (p *program) newLooker(c *client) *looker { return &looker{p: p, c: c, now: time.Now} }

// topOnce prints one screen, as high as it needs.
func (p *program) topOnce(ctx context.Context, c *client, width int) error {
	s, err := p.newLooker(c).look(ctx)
	if err != nil {
		return err
	}
	t := p.terminal()
	if width == 0 {
		if width = t.width; width == 0 {
			width = 100
		}
	}
	v := newTopView(t.colour)
	v.focus = -1 // nothing is selected on paper
	v.take(s, c.base)
	height := 2
	for i := range v.panes {
		height += 1 + max(1, len(v.panes[i].rows))
	}
	for _, line := range v.print(width, height) {
		if _, err := fmt.Fprintln(p.Out, strings.TrimRight(line, " ")); err != nil {
			return err
		}
	}
	return nil
}

// print draws without the line of keys, notes below.
func (v *topView) print(width, height int) []string {
	v.foot = " "
	lines := v.lines(width, height)
	lines = lines[:len(lines)-1]
	for _, p := range v.panes {
		if p.note != "" {
			lines = append(lines, p.title+": "+p.note)
		}
	}
	return lines
}

// looked is what the looking goroutine found.
type looked struct {
	snapshot *snapshot
	err      error
	said     string // what an action came to
}

// liveTop is the live screen. One goroutine looks and acts, one reads keys; this one owns view and screen.
type liveTop struct {
	p      *program
	c      *client
	view   *topView
	screen *screen

	keys    chan key
	found   chan looked
	actions chan func(ctx context.Context) (string, error)
	asking  *question
	seen    bool // a snapshot came
}

// question waits for y.
type question struct {
	text string
	do   func(ctx context.Context) (string, error)
}

// topLive runs the screen until q, Ctrl-C, a signal or an error that will not go away. Whatever happens, the terminal is given
// back as it was.
func (p *program) topLive(ctx context.Context, c *client, every time.Duration) error {
	s, release, err := openScreen(p.In, p.Out)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	t := &liveTop{p: p, c: c, view: newTopView(colourful(p.Environ)), screen: s, keys: make(chan key), found: make(chan looked), actions: make(chan func(context.Context) (string, error), 1)}
	t.view.head = "taskweir top  " + c.base + "  looking …"
	var running sync.WaitGroup
	running.Go(func() { readKeys(s.keys, t.keys, ctx.Done()) })
	running.Go(func() { t.lookOn(ctx, every) })
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, resized, suspendSignal)
	defer func() { // also when this goroutine panics
		signal.Stop(signals)
		cancel(nil)
		interruptReading(s.keys)
		running.Wait()
		release()
	}()
	return t.loop(ctx, signals)
}

// lookOn looks again and again, and does in between what it is told. A panic is an error like others: it must not leave the
// terminal as it is.
func (t *liveTop) lookOn(ctx context.Context, every time.Duration) {
	tell := func(l looked) {
		select {
		case t.found <- l:
		case <-ctx.Done():
		}
	}
	defer func() {
		if fault := recover(); fault != nil {
			tell(looked{err: &exitError{code: ExitFailure, err: fmt.Errorf("fault: %v\n%s", fault, debug.Stack())}})
		}
	}()
	l := t.p.newLooker(t.c)
	tick := time.NewTimer(0)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case do := <-t.actions:
			said, err := do(ctx)
			if err != nil {
				said = firstLine(err)
			}
			tell(looked{said: said})
			tick.Reset(0)
		case <-tick.C:
			s, err := l.look(ctx)
			tell(looked{snapshot: s, err: err})
			tick.Reset(every)
		}
	}
}

func (t *liveTop) loop(ctx context.Context, signals <-chan os.Signal) error {
	for {
		t.screen.measure()
		if err := t.screen.draw(t.view.lines(t.screen.width, t.screen.height)); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case s := <-signals:
			if s == suspendSignal {
				if err := t.suspend(); err != nil {
					return err
				}
			}
		case l := <-t.found:
			if err := t.take(l); err != nil {
				return err
			}
		case k := <-t.keys:
			if done, err := t.press(k); done || err != nil {
				return err
			}
		}
	}
}

// take shows what was found. Only the first look may fail for good, or a later one with what waiting does not mend.
func (t *liveTop) take(l looked) error {
	switch {
	case l.said != "":
		t.view.foot = l.said
	case l.err != nil && (!t.seen || exitCode(l.err) != ExitUnavailable):
		return l.err
	case l.err != nil:
		t.view.alarm = "no answer for the moment, still trying: " + firstLine(l.err)
	default:
		t.seen, t.view.alarm = true, ""
		t.view.take(l.snapshot, t.c.base)
	}
	return nil
}

// suspend gives the terminal back, stops the process as Ctrl-Z does, and takes the terminal again when it goes on.
func (t *liveTop) suspend() error {
	t.screen.leave()
	if err := stopSelf(); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	return t.screen.enter()
}

// press does what a key means, and reports whether that ends it.
func (t *liveTop) press(k key) (done bool, err error) {
	if q := t.asking; q != nil {
		t.asking, t.view.foot = nil, ""
		if k == "y" || k == "Y" {
			t.act(q)
		}
		return k == keyStop, nil
	}
	t.view.foot = ""
	p := &t.view.panes[t.view.focus]
	switch k {
	case "q", "Q", keyStop:
		return true, nil
	case keySuspend:
		return false, t.suspend()
	case keyRedraw:
		t.screen.drawn = nil
	case keyTab, keyRight:
		t.view.focus = (t.view.focus + 1) % panes
	case keyBackTab, keyLeft:
		t.view.focus = (t.view.focus + panes - 1) % panes
	case "s":
		p.sort = (p.sort + 1) % len(p.columns)
		p.arrange()
	case "r", "S":
		p.reverse = !p.reverse
		p.arrange()
	case "p":
		t.askPause()
	case "d":
		t.askDrain()
	default:
		p.move(moves[k])
	}
	return false, nil
}

// moves is by how many rows a key moves the selection.
var moves = map[key]int{keyUp: -1, "k": -1, keyDown: 1, "j": 1, keyPageUp: -10, keyPageDown: 10, keyHome: -1 << 20, keyEnd: 1 << 20}

func (t *liveTop) ask(text string, do func(ctx context.Context) (string, error)) {
	t.asking = &question{text, do}
	t.view.foot = text + " [y/N]"
}

func (t *liveTop) act(q *question) {
	select {
	case t.actions <- q.do:
		t.view.foot = "…"
	default:
		t.view.foot = "busy: try again"
	}
}

// askPause asks whether to pause or resume the selected queue.
func (t *liveTop) askPause() {
	p := &t.view.panes[paneQueues]
	at := p.at()
	if t.view.focus != paneQueues || at < 0 {
		t.view.foot = "p pauses and resumes queues: tab to QUEUES"
		return
	}
	name, verb := p.rows[at].name, "pause"
	if p.rows[at].cells[1].text == "paused" {
		verb = "resume"
	}
	t.ask(fmt.Sprintf("%s queue %s, for every app?", verb, name), t.post("/v1/queues/"+url.PathEscape(name)+"/"+verb, fmt.Sprintf("queue %s: %sd", name, verb)))
}

// askDrain asks whether to drain the selected worker.
func (t *liveTop) askDrain() {
	p := &t.view.panes[paneWorkers]
	at := p.at()
	if t.view.focus != paneWorkers || at < 0 {
		t.view.foot = "d drains workers: tab to WORKERS"
		return
	}
	id := p.rows[at].name
	t.ask("drain worker "+id+": it finishes what it runs, and ends?", t.post("/v1/workers/"+id+"/drain", "worker "+id+" drains"))
}

func (t *liveTop) post(path, said string) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		_, err := t.c.call(ctx, request{method: http.MethodPost, path: path})
		return said, err
	}
}
