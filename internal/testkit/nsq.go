package testkit

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
)

// NSQLookupd is a private nsqlookupd.
type NSQLookupd struct {
	*Process
	tcp, http int
}

// StartNSQLookupd starts one, whose log is dir/name.log. tools comes from NSQTools.
func StartNSQLookupd(ctx context.Context, tools Tools, dir, name string) (*NSQLookupd, error) {
	return onFreePort(func(tcp int) (*NSQLookupd, error) {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		p, err := Start(ctx, Spec{Name: name, Path: tools.NSQLookupd, Log: filepath.Join(dir, name+".log"), Ready: answers(port, "/ping"),
			Args: []string{"-tcp-address", Loopback(tcp), "-http-address", Loopback(port), "-broadcast-address", "127.0.0.1"}})
		if err != nil {
			return nil, err
		}
		return &NSQLookupd{p, tcp, port}, nil
	})
}

// Addr is the HTTP address that consumers ask.
func (l *NSQLookupd) Addr() string { return Loopback(l.http) }

// TCPAddr is the address that nsqds register at.
func (l *NSQLookupd) TCPAddr() string { return Loopback(l.tcp) }

// NSQD is a private nsqd with the stock settings.
type NSQD struct {
	*Process
	Data      string // its folder
	tcp, http int
}

// StartNSQD starts one with its data in dir/name. It registers with the nsqlookupds at these TCP addresses.
func StartNSQD(ctx context.Context, tools Tools, dir, name string, lookupds ...string) (*NSQD, error) {
	data := filepath.Join(dir, name)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make nsqd's folder: %w", err)
	}
	return onFreePort(func(tcp int) (*NSQD, error) {
		port, err := FreePort()
		if err != nil {
			return nil, err
		}
		args := []string{"-tcp-address", Loopback(tcp), "-http-address", Loopback(port), "-broadcast-address", "127.0.0.1", "-data-path", data}
		for _, l := range lookupds {
			args = append(args, "-lookupd-tcp-address", l)
		}
		p, err := Start(ctx, Spec{Name: name, Path: tools.NSQD, Args: args, Log: filepath.Join(dir, name+".log"), Ready: answers(port, "/ping")})
		if err != nil {
			return nil, err
		}
		return &NSQD{p, data, tcp, port}, nil
	})
}

// Addr is the TCP address that producers and consumers use.
func (n *NSQD) Addr() string { return Loopback(n.tcp) }

// HTTPAddr is the address of nsqd's own statistics.
func (n *NSQD) HTTPAddr() string { return Loopback(n.http) }

// answers asks an HTTP server of loopback for a path and wants 200.
func answers(port int, path string) func(context.Context) error { return Answers(Loopback(port), path) }

// Answers is a readiness check: GET http://addr/path answers 200.
func Answers(addr, path string) func(context.Context) error {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/"+strings.TrimPrefix(path, "/"), nil)
		if err != nil {
			return fmt.Errorf("ask %s: %w", path, err)
		}
		res, err := client.Do(req)
		if err != nil {
			return fmt.Errorf("ask %s: %w", path, err)
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", path, res.Status)
		}
		return nil
	}
}
