package servers

import (
	"context"
	"errors"
)

// Set is the servers of one system. It implements system.Servers.
type Set []*Server

// All starts several servers one after the other. On an error none is left.
func All(ctx context.Context, dir string, starts ...func(ctx context.Context, dir string) (Set, error)) (Set, error) {
	var all Set
	for _, start := range starts {
		s, err := start(ctx, dir)
		if err != nil {
			return nil, errors.Join(err, all.Stop())
		}
		all = append(all, s...)
	}
	return all, nil
}

// Addrs are the addresses by the names of the servers: "redis", "postgres", "mariadb", "nsqd", "nsqd-http", "nsqlookupd".
func (s Set) Addrs() map[string]string {
	addrs := map[string]string{}
	for _, server := range s {
		addrs[server.Name] = server.Addr
		if server.HTTPAddr != "" {
			addrs[server.Name+"-http"] = server.HTTPAddr
		}
	}
	return addrs
}

// Processes are the first processes of the servers by their names.
func (s Set) Processes() map[string]int {
	pids := map[string]int{}
	for _, server := range s {
		pids[server.Name] = server.PID()
	}
	return pids
}

// Versions are the versions that the programs say, by their products' names.
func (s Set) Versions(ctx context.Context) (map[string]string, error) {
	versions := map[string]string{}
	for _, server := range s {
		v, err := version(ctx, server.program, server.flag)
		if err != nil {
			return nil, err
		}
		versions[server.Product] = v
	}
	return versions, nil
}

// Stop ends the servers without letting them save anything.
func (s Set) Stop() error {
	var errs []error
	for _, server := range s {
		errs = append(errs, server.Close())
	}
	return errors.Join(errs...)
}
