// Package nsqembed runs the real nsqd inside this process, so that a standalone needs no broker beside it. It is the same
// code as the nsqd program, on a data folder, bound to loopback and without its HTTP port (whose endpoints need no
// authentication).
//
// Its options suit what Taskweir puts into a broker: a bounded window of bells. Nothing in nsqd is precious, because every
// bell stands in the database and is rung again; so the disk queue is synced rarely, and only what overflows memory or is
// left at a clean stop goes to disk at all.
package nsqembed

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/nsqio/nsq/nsqd"
)

const closePatience = 5 * time.Second

// Options of an embedded nsqd.
type Options struct {
	DataDir string       // made with mode 0700 when missing; locked while the server runs
	Addr    string       // TCP listen address; empty: a free port of 127.0.0.1
	Lookupd []string     // nsqlookupd TCP addresses to register with; empty: none
	Logger  *slog.Logger // gets warnings and errors; nil: slog.Default
}

// Server is a running nsqd.
type Server struct {
	nsqd *nsqd.NSQD
	done chan struct{} // closed when Main has returned
	once sync.Once
}

// Start starts nsqd. When it returns, connections are accepted.
func Start(o Options) (*Server, error) {
	if o.DataDir == "" {
		return nil, errors.New("nsqembed: no data folder")
	}
	dir, err := filepath.Abs(o.DataDir)
	if err != nil {
		return nil, fmt.Errorf("nsqembed: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("nsqembed: make data folder: %w", err)
	}
	opts, log := settings(o, dir)
	n, err := nsqd.New(opts)
	if err != nil {
		return nil, fmt.Errorf("nsqembed: %w", err)
	}
	// Listening began in New: connections made from here on wait in the kernel until Main accepts them.
	if err := n.LoadMetadata(); err != nil {
		n.Exit()
		return nil, fmt.Errorf("nsqembed: %w", err)
	}
	s := &Server{nsqd: n, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		// Main ends without error when Exit closes the listener. Any other end is logged by nsqd and seen by the clients.
		_ = n.Main()
	}()
	<-log.listening // else a Close at once could come before Main's first goroutine, which Exit is to wait for
	return s, nil
}

// settings are nsqd's options; what is not set here is nsqd's default.
func settings(o Options, dir string) (*nsqd.Options, *adapter) {
	opts := nsqd.NewOptions()
	opts.DataPath = dir
	log := &adapter{log: logger(o.Logger), listening: make(chan struct{})}
	opts.Logger = log
	opts.LogLevel = nsqd.LOG_INFO // for the line that says that it listens; the others of that level are dropped
	opts.LogPrefix = ""
	opts.TCPAddress = o.Addr
	if o.Addr == "" {
		opts.TCPAddress = "127.0.0.1:0"
	}
	opts.HTTPAddress, opts.HTTPSAddress = "", ""
	opts.BroadcastAddress = "127.0.0.1"
	if host, _, err := net.SplitHostPort(opts.TCPAddress); err == nil && host != "" {
		opts.BroadcastAddress = host
	}
	if opts.NSQLookupdTCPAddresses = o.Lookupd; len(o.Lookupd) > 0 {
		// nsqlookupd refuses an nsqd that names no HTTP port. Nobody of ours asks for it, and nothing listens there.
		opts.BroadcastHTTPPort = 4151
	}
	opts.MsgTimeout = 10 * time.Second
	// The window of all lanes fits into memory; a channel of pointers costs 8 bytes an entry.
	opts.MemQueueSize = 10_000
	opts.MaxBytesPerFile = 16 << 20
	// One ticker per topic and channel: rare, because nothing on this disk is precious.
	opts.SyncEvery = 10_000
	opts.SyncTimeout = 30 * time.Second
	// How exactly requeue delays and message timeouts end. nsqd's own is 100 ms, half of what wakes an idle standalone up; the
	// delays asked for are 200 ms and more.
	opts.QueueScanInterval = 200 * time.Millisecond
	opts.MaxReqTimeout = time.Minute
	return opts, log
}

func logger(l *slog.Logger) *slog.Logger {
	if l == nil {
		l = slog.Default()
	}
	return l.With("component", "nsqd")
}

// TCPAddr is the address to connect to, host:port.
func (s *Server) TCPAddr() string { return s.nsqd.RealTCPAddr().String() }

// Close stops nsqd: connections are closed, what is in memory is written to the data folder. It waits until all is done,
// but not longer than 5 s: nsqd waits without end for a client that connects at that very moment and says nothing. A
// second call does nothing.
func (s *Server) Close() {
	s.once.Do(func() {
		stopped := make(chan struct{})
		go func() {
			defer close(stopped)
			s.nsqd.Exit()
			<-s.done
		}()
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		select {
		case <-stopped:
		case <-patience.C:
		}
	})
}

// adapter turns nsqd's log lines into records. nsqd writes "LEVEL: text".
type adapter struct {
	log       *slog.Logger
	once      sync.Once
	listening chan struct{} // closed when nsqd says that it listens
}

// Output receives one line.
func (a *adapter) Output(_ int, line string) error {
	level, text, ok := strings.Cut(line, ": ")
	if !ok {
		level, text = "WARNING", line
	}
	switch level {
	case "INFO", "DEBUG":
		if strings.HasPrefix(text, "TCP: listening on ") {
			a.once.Do(func() { close(a.listening) })
		}
	case "ERROR", "FATAL":
		if ending(text) {
			a.log.Debug(text)
			return nil
		}
		a.log.Error(text)
	default:
		a.log.Warn(text)
	}
	return nil
}

// ending reports whether a line only tells that a client went away: an error to nsqd, to us how every connection ends.
func ending(text string) bool {
	for _, s := range []string{"use of closed network connection", "connection reset by peer", "broken pipe"} {
		if strings.Contains(text, s) {
			return true
		}
	}
	return false
}
