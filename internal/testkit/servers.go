package testkit

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Servers are one MariaDB, one Redis, one nsqlookupd and some nsqds, in one temporary folder.
type Servers struct {
	Dir     string // removed by Close
	MariaDB *MariaDB
	Redis   *Redis
	Lookupd *NSQLookupd
	NSQD    []*NSQD
}

// ServersOptions say what to start. The zero value is one of each.
type ServersOptions struct {
	MariaDB                   MariaDBOptions
	NSQDs                     int // 0: 1
	NoMariaDB, NoRedis, NoNSQ bool
	StartWithin               time.Duration // 0: 60 s
}

// StartServers makes a temporary folder and starts servers in it, all at once. On an error nothing is left.
func StartServers(ctx context.Context, o ServersOptions) (*Servers, error) {
	if o.StartWithin == 0 {
		o.StartWithin = time.Minute
	}
	ctx, cancel := context.WithTimeout(ctx, o.StartWithin)
	defer cancel()
	dir, err := TempDir()
	if err != nil {
		return nil, err
	}
	s := &Servers{Dir: dir}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Servers) start(ctx context.Context, o ServersOptions) error {
	var jobs []func() error
	if !o.NoMariaDB {
		jobs = append(jobs, func() (err error) { s.MariaDB, err = StartMariaDB(ctx, s.Dir, o.MariaDB); return })
	}
	if !o.NoRedis {
		jobs = append(jobs, func() (err error) { s.Redis, err = StartRedis(ctx, s.Dir); return })
	}
	if !o.NoNSQ {
		jobs = append(jobs, func() error { return s.startNSQ(ctx, max(1, o.NSQDs)) })
	}
	errs := make([]error, len(jobs))
	var wg sync.WaitGroup
	for i, job := range jobs {
		wg.Go(func() { errs[i] = job() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (s *Servers) startNSQ(ctx context.Context, n int) error {
	tools, err := NSQTools(ctx)
	if err != nil {
		return err
	}
	if s.Lookupd, err = StartNSQLookupd(ctx, tools, s.Dir, "nsqlookupd"); err != nil {
		return err
	}
	for i := range n {
		d, err := StartNSQD(ctx, tools, s.Dir, fmt.Sprintf("nsqd%d", i+1), s.Lookupd.TCPAddr())
		if err != nil {
			return err
		}
		s.NSQD = append(s.NSQD, d)
	}
	return nil
}

// TestEnv are the variables by which Taskweir's own tests find the servers.
func (s *Servers) TestEnv() []string {
	var env []string
	if s.MariaDB != nil {
		env = append(env, "TASKWEIR_TEST_MYSQL="+s.MariaDB.URL(""))
	}
	if s.Redis != nil {
		env = append(env, "TASKWEIR_TEST_REDIS="+s.Redis.URL())
	}
	if len(s.NSQD) > 0 {
		env = append(env, "TASKWEIR_TEST_NSQD="+s.nsqdAddrs(), "TASKWEIR_TEST_LOOKUPD="+s.Lookupd.Addr())
	}
	return env
}

// Env is the configuration by which Taskweir's processes use the servers and a database of them.
func (s *Servers) Env(database string) []string {
	var env []string
	if s.MariaDB != nil {
		env = append(env, "TASKWEIR_DATABASE_URL="+s.MariaDB.URL(database))
	}
	if s.Redis != nil {
		env = append(env, "TASKWEIR_REDIS_URL="+s.Redis.URL())
	}
	if len(s.NSQD) > 0 {
		env = append(env, "TASKWEIR_NSQ_NSQD="+s.nsqdAddrs(), "TASKWEIR_NSQ_LOOKUPD="+s.Lookupd.Addr())
	}
	return env
}

func (s *Servers) nsqdAddrs() string {
	addrs := make([]string, len(s.NSQD))
	for i, d := range s.NSQD {
		addrs[i] = d.Addr()
	}
	return strings.Join(addrs, ",")
}

// Close kills the servers, whose data goes away anyway, and removes the folder.
func (s *Servers) Close() error {
	for _, d := range s.NSQD {
		d.Kill()
	}
	if s.Lookupd != nil {
		s.Lookupd.Kill()
	}
	if s.Redis != nil {
		s.Redis.Kill()
	}
	if s.MariaDB != nil {
		s.MariaDB.Kill()
	}
	if err := os.RemoveAll(s.Dir); err != nil {
		return fmt.Errorf("remove the servers' folder: %w", err)
	}
	return nil
}

// TempDir makes a temporary folder for servers, and removes those whose maker has died without doing so.
func TempDir() (string, error) {
	sweep()
	dir, err := os.MkdirTemp("", fmt.Sprintf("taskweir-%d-", os.Getpid()))
	if err != nil {
		return "", fmt.Errorf("make a temporary folder: %w", err)
	}
	return dir, nil
}

// sweep removes folders of dead makers. Best effort: what belongs to another user stays.
func sweep() {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), "taskweir-*-*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		var pid int
		if _, err := fmt.Sscanf(filepath.Base(dir), "taskweir-%d-", &pid); err == nil && pid > 0 && !alive(pid) {
			_ = os.RemoveAll(dir)
		}
	}
}
