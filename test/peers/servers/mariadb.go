package servers

import (
	"context"
	"os"

	"github.com/taskweir/taskweir/internal/testkit"
)

// MariaDB starts an empty MariaDB with its default durability, innodb_flush_log_at_trx_commit=1 and the doublewrite buffer
// on. Everybody on this machine may connect as root while it runs.
func MariaDB(ctx context.Context, dir string) (Set, error) {
	program, err := look("mariadbd")
	if err != nil {
		return nil, err
	}
	m, err := testkit.StartMariaDB(ctx, dir, testkit.MariaDBOptions{})
	if err != nil {
		return nil, err
	}
	return Set{{Name: "mariadb", Product: "MariaDB", Addr: m.Addr(), program: program, flag: "--version", process: m.Process, end: os.Kill}}, nil
}

// MissingMariaDB lists what MariaDB needs and this machine has not.
func MissingMariaDB(context.Context) []testkit.Missing {
	return missing("MariaDB server", "mariadb-server", "no Taskweir on MariaDB", "mariadbd")
}
