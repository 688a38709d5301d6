package servers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"time"

	"github.com/taskweir/taskweir/internal/testkit"
)

// Server is a running server. Its fields do not change.
type Server struct {
	Name    string // "redis"
	Product string // "Redis"
	Addr    string // host:port that clients dial
	// HTTPAddr is the address of nsqd's own statistics and orders; empty for all others.
	HTTPAddr string

	program, flag string // what tells the version
	process       *testkit.Process
	end           os.Signal // asks it to end at once without writing anything back
	dir           string    // removed by Close; empty: the caller of Start… removes what he gave
}

var errNoVersion = errors.New("tells no version")

// PID is the process id of the server's first process.
func (s *Server) PID() int { return s.process.PID() }

// Tail is the end of what the server wrote, at most n bytes.
func (s *Server) Tail(n int64) string { return s.process.Tail(n) }

// Close ends the server without letting it save anything. Closing twice does nothing.
func (s *Server) Close() error {
	if s.process != nil && s.process.Running() {
		if err := s.process.Signal(s.end); err == nil {
			patience := time.NewTimer(10 * time.Second)
			defer patience.Stop()
			select {
			case <-s.process.Done():
			case <-patience.C:
			}
		}
		s.process.Kill()
	}
	if s.dir == "" {
		return nil
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove the folder of %s: %w", s.Name, err)
	}
	return nil
}

// launch starts s on a free port by what spec gives for it; its log is kept in dir.
func (s *Server) launch(ctx context.Context, dir string, spec func(port int) testkit.Spec) error {
	var last error
	for range 3 { // another program may take the port between finding it and using it
		port, err := testkit.FreePort()
		if err != nil {
			return err
		}
		sp := spec(port)
		sp.Name, sp.Dir, sp.Log = s.Name, dir, filepath.Join(dir, s.Name+".log")
		s.Addr = testkit.Loopback(port)
		if s.process, last = testkit.Start(ctx, sp); last == nil || ctx.Err() != nil {
			break
		}
	}
	return last
}

var numbers = regexp.MustCompile(`\d+(\.\d+)+`)

// version asks a program for its version and gives the first number with dots in its answer.
func version(ctx context.Context, program, flag string) (string, error) {
	out, err := exec.CommandContext(ctx, program, flag).Output()
	if err != nil {
		return "", fmt.Errorf("ask %s for its version: %w", program, err)
	}
	v := numbers.Find(out)
	if v == nil {
		return "", fmt.Errorf("%s: %w", program, errNoVersion)
	}
	return string(v), nil
}

// look finds a program in some folders, on the path, and where servers are that are not on everybody's path.
func look(name string, folders ...string) (string, error) {
	for _, dir := range append(folders, "", "/usr/sbin", "/usr/local/sbin", "/usr/local/bin", "/opt/homebrew/bin") {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s: %w", name, exec.ErrNotFound)
}
