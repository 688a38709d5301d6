package servers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"

	"github.com/taskweir/taskweir/internal/testkit"
)

// Keeping says how Redis keeps its data.
type Keeping int

const (
	// InMemory keeps nothing: what Redis holds is gone when it stops.
	InMemory Keeping = iota
	// EverySecond appends every change to a file that is flushed to disk each second: a crash of the machine may lose what
	// the last second or two accepted.
	EverySecond
)

var errNoPong = errors.New("does not answer PONG")

// Redis gives what starts an empty Redis with its data in dir.
func Redis(keep Keeping) func(ctx context.Context, dir string) (Set, error) {
	return func(ctx context.Context, dir string) (Set, error) { return redis(ctx, dir, keep) }
}

func redis(ctx context.Context, dir string, keep Keeping) (Set, error) {
	program, err := look("redis-server")
	if err != nil {
		return nil, err
	}
	keeping := []string{"--appendonly", "no"}
	if keep == EverySecond {
		keeping = []string{"--appendonly", "yes", "--appendfsync", "everysec"}
	}
	s := &Server{Name: "redis", Product: "Redis", program: program, flag: "--version", end: os.Kill}
	err = s.launch(ctx, dir, func(port int) testkit.Spec {
		args := []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--dir", dir, "--save", ""}
		return testkit.Spec{Path: program, Args: append(args, keeping...), Ready: pongs(testkit.Loopback(port))}
	})
	if err != nil {
		return nil, err
	}
	return Set{s}, nil
}

// MissingRedis lists what Redis needs and this machine has not.
func MissingRedis(context.Context) []testkit.Missing {
	return missing("Redis server", "redis-server", "neither asynq nor machinery", "redis-server")
}

// pongs waits until Redis has loaded its file: before that it answers PING with an error.
func pongs(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		return talk(ctx, addr, []byte("PING\r\n"), func(first []byte) error {
			if string(first) != "+PONG\r\n" {
				return fmt.Errorf("%q: %w", first, errNoPong)
			}
			return nil
		})
	}
}

// talk sends a few bytes and judges what comes back first.
func talk(ctx context.Context, addr string, send []byte, judge func([]byte) error) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("dial: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return fmt.Errorf("limit the talk: %w", err)
		}
	}
	if _, err := conn.Write(send); err != nil {
		return fmt.Errorf("ask: %w", err)
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	if err != nil {
		return fmt.Errorf("hear: %w", err)
	}
	return judge(answer[:n])
}

// missing tells whether a program that a package of Debian holds is not here.
func missing(what, pkg, without, program string, folders ...string) []testkit.Missing {
	if _, err := look(program, folders...); err != nil {
		return []testkit.Missing{{What: what, Package: pkg, Err: err, Without: without}}
	}
	return nil
}
