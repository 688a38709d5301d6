package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/taskweir/taskweir/internal/config"
)

// alone reports whether the configuration describes a standalone: nothing but the data folder is named.
func alone(c *config.Config) bool {
	return c.Database.URL.Scheme() == "sqlite" && !c.Redis.URL.IsSet() && len(c.NSQ.Nsqd)+len(c.NSQ.Lookupd) == 0
}

// settings looks at keys and at the data folder.
func settings(_ context.Context, c *config.Config, _ Probes) []Finding {
	const a area = "configuration"
	var out []Finding
	if alone(c) {
		out = append(out, a.ok("mode", "standalone: every part is embedded, data in "+c.DataDir))
	} else {
		out = append(out, a.ok("mode", "separate processes"))
		for _, k := range []struct {
			key string
			set bool
		}{{"encryption_key", c.EncryptionKey.IsSet()}, {"cluster_key", c.ClusterKey.IsSet()}, {"redis.url", c.Redis.URL.IsSet()}, {"nsq.nsqd", len(c.NSQ.Nsqd) > 0}} {
			if k.set {
				out = append(out, a.ok(k.key, "set by "+c.Source(k.key)))
			} else {
				out = append(out, a.problem(k.key, "is not set: api, scheduler and worker refuse to start", "set "+c.Source(k.key)+" to the same value for all processes; see docs/configuration.md"))
			}
		}
		if c.Database.URL.Scheme() == "sqlite" {
			out = append(out, a.problem("database.url", "is SQLite, which serves one process only", "set TASKWEIR_DATABASE_URL=mysql://user:password@host:3306/name, or run taskweir standalone"))
		}
	}
	if c.NSQ.TLS {
		if _, err := c.NSQ.TLSConfig(); err != nil {
			out = append(out, a.problem("nsq.tls", err.Error(), "name readable PEM files"))
		}
	}
	return append(out, dataFolder(c.DataDir)...)
}

// dataFolder looks at who may read the keys.
func dataFolder(dir string) []Finding {
	const a area = "configuration"
	st, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // nothing ever ran there
	}
	if err != nil {
		return []Finding{a.problem("data_dir", err.Error(), "let this user read the folder")}
	}
	var out []Finding
	if m := st.Mode().Perm(); m&0o022 != 0 {
		out = append(out, a.problem("data_dir", fmt.Sprintf("%s has mode %04o: other users may change it", dir, m), "chmod 700 "+dir))
	}
	for _, name := range []string{config.BootstrapKeyFile, config.EncryptionKeyFile, config.ClusterKeyFile, config.DatabaseFile} {
		path := filepath.Join(dir, name)
		st, err := os.Stat(path)
		if err != nil {
			continue
		}
		if m := st.Mode().Perm(); m&0o077 != 0 && (name != config.DatabaseFile || openToOthers(dir)) {
			out = append(out, a.problem("data_dir", fmt.Sprintf("%s has mode %04o: other users may read it", path, m), "chmod 600 "+path))
		}
	}
	if len(out) == 0 {
		out = append(out, a.ok("data_dir", dir+" is its owner's alone"))
	}
	return out
}

// openToOthers reports whether other users may enter a folder at all.
func openToOthers(dir string) bool {
	st, err := os.Stat(dir)
	return err == nil && st.Mode().Perm()&0o077 != 0
}
