// Command listenbench measures what listeners to events cost: a standalone on a private MariaDB, Redis and nsqd runs a steady load of
// no-op tasks, without listeners and with a thousand of them in a process of their own. The figure that counts is the processor
// time of the server and of Redis per 1,000 tasks; the listeners' own is shown beside it.
package main

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/taskweir/taskweir/internal/procstat"
	"github.com/taskweir/taskweir/internal/testkit"
)

func main() {
	var o options
	flag.IntVar(&o.rate, "rate", 5_000, "tasks a second")
	flag.IntVar(&o.listeners, "listeners", 1_000, "how many listen")
	flag.DurationVar(&o.time, "time", 10*time.Second, "how long each case is measured")
	flag.IntVar(&o.rounds, "rounds", 2, "how often each case is measured")
	flag.StringVar(&o.only, "only", "", "measure of those who listen only the case whose name contains this")
	flag.StringVar(&o.listen, "listen", "", "be the listeners of this address; for the program's own use")
	flag.StringVar(&o.key, "key", "", "their key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	run := measure
	if o.listen != "" {
		run = listen
	}
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "listenbench:", err)
		os.Exit(1)
	}
}

type options struct {
	rate, listeners, rounds int
	time                    time.Duration
	only, listen, key       string
}

// cases are what the listeners ask for; empty: there are none.
var cases = []struct{ name, query string }{
	{"nobody", ""},
	{"filter: type=failed", "type=failed"},
	{"one of 50 queues each", "queue=bench-%d"},
	{"everything", "?"},
}

// audience is the key in Redis that says that somebody listens or lately did. Nobody is nobody only without it.
const audience = "taskweir:{events}:audience"

// forgetAudience removes it, as ten minutes and a half without listeners would.
func forgetAudience(ctx context.Context, redis string) error {
	conn, err := (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "tcp", redis)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // it was read
	if err := conn.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(conn, "DEL %s\r\n", audience); err != nil {
		return err
	}
	reply, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && !strings.HasPrefix(reply, ":") {
		err = fmt.Errorf("redis says %q", strings.TrimSpace(reply))
	}
	return err
}

func measure(ctx context.Context, o options) error {
	servers, err := testkit.StartServers(ctx, testkit.ServersOptions{})
	if err != nil {
		return err
	}
	defer servers.Close() //nolint:errcheck // the end of a measurement
	if err := servers.MariaDB.CreateDatabase(ctx, "listenbench"); err != nil {
		return err
	}
	programs, err := testkit.BuildPrograms(ctx, filepath.Join(servers.Dir, "bin"))
	if err != nil {
		return err
	}
	s, err := testkit.StartStandalone(ctx, testkit.StandaloneOptions{Programs: programs, Dir: filepath.Join(servers.Dir, "standalone"),
		Env: append(servers.Env("listenbench"), "TASKWEIR_LOG_LEVEL=warn")})
	if err != nil {
		return err
	}
	defer s.Kill()
	fmt.Printf("%d tasks/s for %s, %d listeners, %d rounds\n\n", o.rate, o.time, o.listeners, o.rounds)
	fmt.Println("| round | listeners | tasks/s | server CPU ms / 1,000 | Redis CPU ms / 1,000 | listeners' CPU s | events received | resets |")
	fmt.Println("|---|---|---|---|---|---|---|---|")
	for round := range o.rounds {
		for _, c := range cases {
			if c.query == "" {
				if err := forgetAudience(ctx, servers.Redis.Addr()); err != nil {
					return fmt.Errorf("%s: %w", c.name, err)
				}
			}
			if o.only != "" && c.query != "" && !strings.Contains(c.name, o.only) {
				continue
			}
			if err := one(ctx, o, s, servers.Redis.PID(), round+1, c.name, c.query); err != nil {
				return fmt.Errorf("%s: %w", c.name, err)
			}
		}
	}
	return nil
}

// one measures one case.
func one(ctx context.Context, o options, s *testkit.Standalone, redis, round int, name, query string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var heard *exec.Cmd
	var says io.ReadCloser
	if query != "" {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		heard = exec.CommandContext(ctx, self, "-listen", s.BaseURL+"/v1/events?"+strings.Trim(query, "?"), "-key", s.Key, "-listeners", strconv.Itoa(o.listeners))
		heard.Cancel = func() error { return heard.Process.Signal(syscall.SIGTERM) }
		heard.Stderr = os.Stderr
		if says, err = heard.StdoutPipe(); err != nil {
			return err
		}
		if err := heard.Start(); err != nil {
			return err
		}
		if _, err := says.Read(make([]byte, 6)); err != nil { // "ready\n"
			return err
		}
	}
	load := &loader{url: s.BaseURL, key: s.Key, rate: o.rate}
	go load.run(ctx)
	if !pause(ctx, 4*time.Second) { // until every writer knows of the audience
		return ctx.Err()
	}
	before, err := figures(s.PID(), redis)
	if err != nil {
		return err
	}
	from, began := load.sent.Load(), time.Now()
	if !pause(ctx, o.time) {
		return ctx.Err()
	}
	after, err := figures(s.PID(), redis)
	if err != nil {
		return err
	}
	tasks, took := load.sent.Load()-from, time.Since(began)
	listeners, events, resets := "", "", ""
	if heard != nil {
		cpu, err := procstat.CPU(heard.Process.Pid)
		if err != nil {
			return err
		}
		listeners = fmt.Sprintf("%.1f", cpu.Seconds())
		_ = heard.Process.Signal(syscall.SIGTERM)
		text, _ := io.ReadAll(says)
		events, resets, _ = strings.Cut(strings.TrimSpace(string(text)), " ")
		_ = heard.Wait()
	}
	per := func(d time.Duration) float64 { return d.Seconds() * 1e6 / float64(max(tasks, 1)) }
	fmt.Printf("| %d | %s | %.0f | %.1f | %.1f | %s | %s | %s |\n", round, name, float64(tasks)/took.Seconds(), per(after[0]-before[0]), per(after[1]-before[1]), listeners, events, resets)
	return nil
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func figures(pids ...int) (out [2]time.Duration, err error) {
	for i, pid := range pids {
		if out[i], err = procstat.CPU(pid); err != nil {
			return out, err
		}
	}
	return out, nil
}

// loader submits batches at a steady rate.
type loader struct {
	url, key string
	rate     int
	sent     atomic.Int64
}

const batch = 100

func (l *loader) run(ctx context.Context) {
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	tick := time.NewTicker(time.Second * batch / time.Duration(l.rate))
	defer tick.Stop()
	room := make(chan struct{}, 16)
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case room <- struct{}{}:
		default:
			continue // it does not keep up: the rate that is shown says so
		}
		go func() {
			defer func() { <-room }()
			one := fmt.Sprintf(`{"kind":"sleep","payload":{"ms":0},"queue":"bench-%d"},`, n%50)
			body := `{"tasks":[` + strings.TrimSuffix(strings.Repeat(one, batch), ",") + `]}`
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/v1/tasks/batch", strings.NewReader(body))
			if err != nil {
				return
			}
			req.Header.Set("Authorization", "Bearer "+l.key)
			res, err := client.Do(req)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				l.sent.Add(batch)
			}
		}()
	}
}

// listen is the listeners' process: it says "ready" when all are connected, and at its end how many events and resets came.
func listen(ctx context.Context, o options) error {
	client := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0, DisableCompression: true}}
	var events, resets atomic.Int64
	var ready, all sync.WaitGroup
	ready.Add(o.listeners)
	for i := range o.listeners {
		all.Go(func() {
			url := o.listen
			if strings.Contains(url, "%d") {
				url = fmt.Sprintf(url, i%50)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				panic(err)
			}
			req.Header.Set("Authorization", "Bearer "+o.key)
			res, err := client.Do(req)
			if err != nil || res.StatusCode != http.StatusOK {
				fmt.Fprintln(os.Stderr, "listenbench: not connected:", err)
				ready.Done()
				return
			}
			defer res.Body.Close() //nolint:errcheck // read to its end
			ready.Done()
			lines := bufio.NewScanner(res.Body)
			lines.Buffer(make([]byte, 4<<10), 1<<20)
			for lines.Scan() {
				if line := lines.Bytes(); len(line) > 6 && line[0] == 'e' {
					if string(line) == "event: reset" {
						resets.Add(1)
					} else {
						events.Add(1)
					}
				}
			}
		})
	}
	ready.Wait()
	fmt.Println("ready")
	all.Wait()
	fmt.Println(events.Load(), resets.Load())
	return nil
}
