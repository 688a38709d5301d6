package servers

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/taskweir/taskweir/internal/testkit"
)

const postgresFolder = "/usr/lib/postgresql/15/bin"

var (
	errNoPostgresUser = errors.New("postgres does not run as root, and there is neither a user postgres nor nobody")
	errNotReady       = errors.New("takes no connections yet")
)

// Postgres makes an empty PostgreSQL and starts it with its default durability: fsync and synchronous_commit are on. Everybody
// on this machine may connect as postgres while it runs.
func Postgres(ctx context.Context, dir string) (_ Set, err error) {
	programs, err := findPostgres()
	if err != nil {
		return nil, err
	}
	as, err := postgresUser()
	if err != nil {
		return nil, err
	}
	// SIGQUIT is PostgreSQL's immediate shutdown: nothing is written back, and its shared memory is given back.
	s := &Server{Name: "postgres", Product: "PostgreSQL", program: programs.server, flag: "--version", end: syscall.SIGQUIT}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if as.other() {
		if s.dir, err = as.folder(); err != nil {
			return nil, err
		}
		dir = s.dir
	}
	data := filepath.Join(dir, "postgres")
	if err := makePostgres(ctx, as, programs.initdb, data); err != nil {
		return nil, err
	}
	err = s.launch(ctx, dir, func(port int) testkit.Spec {
		path, args := as.command(programs.server, "-D", data, "-p", strconv.Itoa(port), "-c", "listen_addresses=127.0.0.1",
			"-c", "unix_socket_directories=", "-c", "shared_buffers=128MB", "-c", "fsync=on", "-c", "synchronous_commit=on")
		return testkit.Spec{Path: path, Args: args, Ready: admits(testkit.Loopback(port))}
	})
	if err != nil {
		return nil, err
	}
	return Set{s}, nil
}

// PostgresURL is the database of a server that Postgres started, given its address.
func PostgresURL(addr string) string {
	return "postgres://postgres@" + addr + "/postgres?sslmode=disable"
}

// MissingPostgres lists what PostgreSQL needs and this machine has not.
func MissingPostgres(context.Context) []testkit.Missing {
	return missing("PostgreSQL 15", "postgresql-15", "no River", "postgres", postgresFolder)
}

type postgresPrograms struct{ server, initdb string }

func findPostgres() (p postgresPrograms, err error) {
	if p.server, err = look("postgres", postgresFolder); err != nil {
		return p, err
	}
	p.initdb, err = look("initdb", filepath.Dir(p.server))
	return p, err
}

func makePostgres(ctx context.Context, as runAs, initdb, data string) error {
	path, args := as.command(initdb, "-D", data, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync")
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = filepath.Dir(data)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make an empty postgres: %w\n%s", err, out)
	}
	return nil
}

// admits waits until PostgreSQL takes a connection: while it starts it refuses them with an error.
func admits(addr string) func(context.Context) error {
	body := append(binary.BigEndian.AppendUint32(nil, 3<<16), "user\x00postgres\x00database\x00postgres\x00\x00"...) // protocol 3.0
	hello := append(binary.BigEndian.AppendUint32(nil, uint32(len(body)+4)), body...)
	return func(ctx context.Context) error {
		return talk(ctx, addr, hello, func(first []byte) error {
			if first[0] != 'R' { // "authentication"; an error is 'E'
				return fmt.Errorf("%q: %w", first, errNotReady)
			}
			return nil
		})
	}
}

// runAs is the user that PostgreSQL runs as; the zero value is this process's.
type runAs struct {
	setpriv  string
	uid, gid int
}

func postgresUser() (runAs, error) {
	if os.Geteuid() != 0 {
		return runAs{}, nil
	}
	setpriv, err := look("setpriv")
	if err != nil {
		return runAs{}, err
	}
	for _, name := range []string{"postgres", "nobody"} {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, uerr := strconv.Atoi(u.Uid)
		gid, gerr := strconv.Atoi(u.Gid)
		if err := errors.Join(uerr, gerr); err != nil {
			return runAs{}, fmt.Errorf("user %s: %w", name, err)
		}
		return runAs{setpriv, uid, gid}, nil
	}
	return runAs{}, errNoPostgresUser
}

func (r runAs) other() bool { return r.setpriv != "" }

// command is how that user runs a program. The kernel forgets what a process wanted to die with when it changes its user, so
// that is said again.
func (r runAs) command(program string, args ...string) (string, []string) {
	if !r.other() {
		return program, args
	}
	return r.setpriv, append([]string{"--reuid=" + strconv.Itoa(r.uid), "--regid=" + strconv.Itoa(r.gid), "--clear-groups", "--pdeathsig=QUIT", program}, args...)
}

// folder makes a temporary folder of that user.
func (r runAs) folder() (string, error) {
	dir, err := testkit.TempDir()
	if err != nil {
		return "", err
	}
	if err := os.Chown(dir, r.uid, r.gid); err != nil {
		return "", errors.Join(fmt.Errorf("give postgres its folder: %w", err), os.RemoveAll(dir))
	}
	return dir, nil
}
