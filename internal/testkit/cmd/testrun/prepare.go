package main

import (
	"context"
	"fmt"
	"os"

	"github.com/taskweir/taskweir/internal/testkit"
)

// prepare installs what is missing where it may, notes what stays missing, and tells whether the race detector works.
func prepare(ctx context.Context, o options, r *report) (race bool) {
	missing := testkit.MissingServers(ctx)
	compiler, noCompiler := testkit.MissingCompiler(ctx)
	if noCompiler && !o.noRace {
		missing = append(missing, compiler)
	}
	if php, no := testkit.MissingPHP(); no {
		missing = append(missing, php)
	}
	if len(missing) > 0 {
		if err := (testkit.Installer{Out: os.Stderr}).Install(ctx, missing); err != nil {
			fmt.Fprintln(os.Stderr, "testrun: not installed:", err)
		}
	}
	for _, m := range testkit.MissingServers(ctx) {
		r.didNot(m.String())
	}
	if php, no := testkit.MissingPHP(); no {
		r.didNot(php.String())
	}
	if o.noRace {
		return false
	}
	if m, no := testkit.MissingCompiler(ctx); no {
		r.didNot(m.String())
		return false
	}
	return true
}

// startServers starts those servers that this machine has; nil when it has none.
func startServers(ctx context.Context, r *report) (*testkit.Servers, error) {
	var o testkit.ServersOptions
	for _, m := range testkit.MissingServers(ctx) {
		switch m.Package {
		case "mariadb-server":
			o.NoMariaDB = true
		case "redis-server":
			o.NoRedis = true
		default:
			o.NoNSQ = true
		}
	}
	if o.NoMariaDB && o.NoRedis && o.NoNSQ {
		return nil, nil
	}
	servers, err := testkit.StartServers(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("start the test servers: %w", err)
	}
	for _, s := range []struct {
		name string
		off  bool
	}{{"MariaDB", o.NoMariaDB}, {"Redis", o.NoRedis}, {"nsqd and nsqlookupd", o.NoNSQ}} {
		if !s.off {
			r.did(s.name)
		}
	}
	return servers, nil
}
