package testkit

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"strconv"
)

// Redis is a private Redis that saves nothing: stopping it loses everything, as the design allows.
type Redis struct {
	*Process
	port int
}

// StartRedis starts an empty Redis.
func StartRedis(ctx context.Context, dir string) (*Redis, error) {
	path, err := look("redis-server")
	if err != nil {
		return nil, err
	}
	return onFreePort(func(port int) (*Redis, error) {
		p, err := Start(ctx, Spec{Name: "redis", Path: path, Log: filepath.Join(dir, "redis.log"), Ready: pongs(port), Dir: dir,
			Args: []string{"--bind", "127.0.0.1", "--port", strconv.Itoa(port), "--save", "", "--appendonly", "no"}})
		if err != nil {
			return nil, err
		}
		return &Redis{p, port}, nil
	})
}

func pongs(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", Loopback(port))
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline) // a plain TCP connection always takes one
		}
		if _, err := conn.Write([]byte("PING\r\n")); err != nil {
			return fmt.Errorf("ping: %w", err)
		}
		answer := make([]byte, 7)
		if n, err := conn.Read(answer); err != nil || string(answer[:n]) != "+PONG\r\n" {
			return fmt.Errorf("ping answered %q: %w", answer[:n], err)
		}
		return nil
	}
}

// Addr is host:port.
func (r *Redis) Addr() string { return Loopback(r.port) }

// URL is the address as a configuration value.
func (r *Redis) URL() string { return "redis://" + r.Addr() + "/" }
