package main

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/taskweir/taskweir/internal/testkit"
)

// printer writes whole lines of several sources to one place.
type printer struct {
	mu sync.Mutex
	w  io.Writer
}

func newPrinter(w io.Writer) *printer { return &printer{w: w} }

func (p *printer) say(format string, args ...any) {
	p.line("cluster", []byte(fmt.Sprintf(format, args...)))
}

func (p *printer) line(name string, text []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.w, "%-10s | %s\n", name, text)
}

// process gives a writer that prefixes every line with the process's name.
func (p *printer) process(name string) io.Writer { return &lines{p: p, name: name} }

// lines cuts a stream into lines. A line longer than maxLine is cut.
type lines struct {
	p    *printer
	name string
	rest []byte
}

const maxLine = 16 << 10

func (l *lines) Write(b []byte) (int, error) {
	l.rest = append(l.rest, b...)
	for {
		line, rest, found := bytes.Cut(l.rest, []byte("\n"))
		if !found {
			break
		}
		l.p.line(l.name, line)
		l.rest = rest
	}
	if len(l.rest) > maxLine {
		l.p.line(l.name, l.rest)
		l.rest = nil
	}
	return len(b), nil
}

// tour prints what a newcomer needs.
func tour(out *printer, c *testkit.Cluster) {
	var b strings.Builder
	fmt.Fprintf(&b, "\nThe cluster is up.\n\n")
	fmt.Fprintf(&b, "  API          %s\n  API key      %s\n", c.BaseURL, c.Keys.Bootstrap)
	fmt.Fprintf(&b, "  MariaDB      %s\n  Redis        %s\n  nsqd         %s\n  nsqlookupd   %s\n", c.MariaDB.URL("taskweir"), c.Redis.URL(), c.NSQD[0].Addr(), c.Lookupd.Addr())
	for i, w := range c.Workers {
		fmt.Fprintf(&b, "  %-12s pid %d, http://%s/metrics\n", w.Name(), w.PID(), c.WorkerOps[i])
	}
	fmt.Fprintf(&b, "\nFor the command line, in another terminal:\n\n  export TASKWEIR_URL=%s TASKWEIR_API_KEY=%s\n  go run ./cmd/taskweir workers list\n", c.BaseURL, c.Keys.Bootstrap)
	fmt.Fprintf(&b, "\nSubmit a task that runs for 30 s, then kill the worker that runs it: within 20 s another has it.\n\n")
	fmt.Fprintf(&b, "  curl -s -X POST %s/v1/tasks -H 'Authorization: Bearer %s' -H 'Content-Type: application/json' -d '{\"kind\":\"sleep\",\"payload\":{\"ms\":30000}}'\n", c.BaseURL, c.Keys.Bootstrap)
	fmt.Fprintf(&b, "  kill -9 %d\n", c.Workers[0].PID())
	fmt.Fprintf(&b, "\nCtrl-C drains and removes everything.\n\n")
	out.mu.Lock()
	defer out.mu.Unlock()
	fmt.Fprint(out.w, b.String())
}
