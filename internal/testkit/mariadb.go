package testkit

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

// MariaDB is a private database server with default durability, without a password, on loopback only.
type MariaDB struct {
	*Process
	port   int
	client string
}

// MariaDBOptions size the server. The zero value suits tests.
type MariaDBOptions struct {
	BufferPoolMiB int // 0: 128
	LogFileMiB    int // redo log; 0: 96
}

var (
	databaseName = regexp.MustCompile(`^[a-z0-9_]{1,48}$`)
	errBadName   = errors.New("database names are 1 to 48 of [a-z0-9_]")
	errNoClient  = errors.New("neither mariadb nor mysql (the client) is on the path")
)

// StartMariaDB makes an empty server in dir and starts it.
func StartMariaDB(ctx context.Context, dir string, o MariaDBOptions) (*MariaDB, error) {
	server, err := look("mariadbd", "mysqld")
	if err != nil {
		return nil, err
	}
	install, err := look("mariadb-install-db", "mysql_install_db")
	if err != nil {
		return nil, err
	}
	client, err := look("mariadb", "mysql")
	if err != nil {
		return nil, errNoClient
	}
	data := filepath.Join(dir, "mariadb")
	// A server that starts removes every temporary table from its temporary folder, also those of another one that is being made.
	temp := filepath.Join(dir, "mariadb-tmp")
	if err := os.MkdirAll(temp, 0o700); err != nil {
		return nil, fmt.Errorf("make a temporary folder for the database: %w", err)
	}
	env := "TMPDIR=" + temp
	if err := initMariaDB(ctx, install, data, env); err != nil {
		return nil, err
	}
	return onFreePort(func(port int) (*MariaDB, error) {
		p, err := Start(ctx, Spec{Name: "mariadb", Path: server, Args: mariadbArgs(data, port, o), Env: []string{env},
			Log: filepath.Join(dir, "mariadb.log"), Ready: greets(port)})
		if err != nil {
			return nil, err
		}
		return &MariaDB{p, port, client}, nil
	})
}

func initMariaDB(ctx context.Context, install, data, env string) error {
	args := []string{"--no-defaults", "--datadir=" + data, "--auth-root-authentication-method=normal", "--skip-test-db"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	cmd := exec.CommandContext(ctx, install, args...)
	cmd.Env = append(os.Environ(), env)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make an empty database: %w\n%s", err, out)
	}
	return nil
}

func mariadbArgs(data string, port int, o MariaDBOptions) []string {
	pool, redo := o.BufferPoolMiB, o.LogFileMiB
	if pool == 0 {
		pool = 128
	}
	if redo == 0 {
		redo = 96
	}
	args := []string{"--no-defaults", "--datadir=" + data, "--bind-address=127.0.0.1", "--port=" + strconv.Itoa(port),
		"--socket=" + filepath.Join(data, "s"), "--pid-file=" + filepath.Join(data, "pid"), "--skip-name-resolve",
		"--max-connections=500", "--max-connect-errors=1000000", "--character-set-server=utf8mb4",
		"--innodb-buffer-pool-size=" + strconv.Itoa(pool) + "M", "--innodb-log-file-size=" + strconv.Itoa(redo) + "M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	return args
}

// greets waits for the server's first packet, which it sends only when it can take connections.
func greets(port int) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", Loopback(port))
		if err != nil {
			return fmt.Errorf("dial: %w", err)
		}
		defer conn.Close()
		if deadline, ok := ctx.Deadline(); ok {
			_ = conn.SetDeadline(deadline) // a plain TCP connection always takes one
		}
		header := make([]byte, 5)
		if _, err := conn.Read(header); err != nil {
			return fmt.Errorf("read greeting: %w", err)
		}
		if header[4] != 10 { // the protocol's version; 0xff is an error packet
			return fmt.Errorf("greeting starts with %x", header)
		}
		return nil
	}
}

// URL is the address of a database in Taskweir's own form; with an empty name, the prefix that tests append theirs to.
func (m *MariaDB) URL(database string) string { return "mysql://root@" + m.Addr() + "/" + database }

// Addr is host:port.
func (m *MariaDB) Addr() string { return Loopback(m.port) }

// CreateDatabase makes an empty database.
func (m *MariaDB) CreateDatabase(ctx context.Context, name string) error {
	if !databaseName.MatchString(name) {
		return fmt.Errorf("%q: %w", name, errBadName)
	}
	_, err := m.Query(ctx, "CREATE DATABASE "+name+" CHARACTER SET utf8mb4 COLLATE utf8mb4_bin")
	return err
}

// Query runs statements as root through the server's own client and gives its output: rows as lines, columns separated by
// tabs, no header. For looking at things and breaking them in tests; nothing is escaped.
func (m *MariaDB) Query(ctx context.Context, statements string) (string, error) {
	cmd := exec.CommandContext(ctx, m.client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1",
		"--port="+strconv.Itoa(m.port), "--user=root", "--batch", "--skip-column-names", "--execute="+statements)
	out, err := cmd.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("query: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return strings.TrimSpace(string(out)), nil
}
