package testkit

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
)

// Missing is something that full tests need and this machine has not.
type Missing struct {
	What    string // for people: "MariaDB server"
	Package string // the package of Debian that holds it; empty: no package would help
	Err     error
	Without string // what does not run without it
}

// String is one line for people.
func (m Missing) String() string {
	return fmt.Sprintf("%s: %v; without it: %s", m.What, m.Err, m.Without)
}

// MissingServers lists the servers that are not installed. Building nsqd may use the network.
func MissingServers(ctx context.Context) []Missing {
	missing := missingPrograms()
	if _, err := NSQTools(ctx); err != nil {
		missing = append(missing, Missing{"nsqd and nsqlookupd (built from test/tools)", "", err, "no suite on separate nsqd and nsqlookupd processes"})
	}
	return missing
}

func missingPrograms() []Missing {
	var missing []Missing
	for _, need := range []struct {
		what, pkg, without string
		programs           []string
	}{
		{"MariaDB server", "mariadb-server", "no suite on MariaDB", []string{"mariadbd", "mariadb-install-db", "mariadb"}},
		{"Redis server", "redis-server", "no suite on Redis", []string{"redis-server"}},
	} {
		for _, program := range need.programs {
			if _, err := look(program); err != nil {
				missing = append(missing, Missing{need.what, need.pkg, err, need.without})
				break
			}
		}
	}
	return missing
}

// MissingPHP tells whether PHP cannot be run: clients and receivers of the legacy surfaces are written in it.
func MissingPHP() (Missing, bool) {
	_, err := look("php")
	return Missing{"PHP", "php-cli", err, "no clients and receivers of legacy surfaces in PHP"}, err != nil
}

// MissingCompiler tells whether the race detector can be built: it needs cgo and a C compiler.
func MissingCompiler(ctx context.Context) (Missing, bool) {
	without := "tests run without the race detector"
	out, err := exec.CommandContext(ctx, "go", "env", "CC", "GOOS").Output()
	if err != nil {
		return Missing{"go", "", err, "nothing"}, true
	}
	cc, _, _ := strings.Cut(string(out), "\n")
	fields := strings.Fields(cc)
	if len(fields) == 0 {
		fields = []string{"gcc"}
	}
	if _, err := exec.LookPath(fields[0]); err != nil {
		return Missing{"C compiler", "gcc libc6-dev", err, without}, true
	}
	return Missing{}, false
}
