package sqldb

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

// parseURL gives the SQLite file (absolute) or the MySQL configuration that a database URL names. Its errors never show
// the URL, which may hold a password.
func parseURL(raw string) (file string, my *mysql.Config, err error) {
	if path, ok := strings.CutPrefix(raw, "sqlite://"); ok {
		if path == "" || strings.ContainsAny(path, "?#") {
			return "", nil, errors.New("database url: sqlite:///path takes a file path and no options")
		}
		file, err = filepath.Abs(path)
		return file, nil, err
	}
	if !strings.HasPrefix(raw, "mysql://") {
		return "", nil, errors.New("database url: want sqlite:///path or mysql://user:password@host:port/database")
	}
	my, err = parseMySQL(raw)
	return "", my, err
}

func parseMySQL(raw string) (*mysql.Config, error) {
	u, err := url.Parse(raw)
	if err != nil {
		return nil, errors.New("database url: not a valid mysql:// url (special characters of the password must be percent-encoded)")
	}
	name := strings.TrimPrefix(u.Path, "/")
	if u.Hostname() == "" || name == "" || strings.Contains(name, "/") {
		return nil, errors.New("database url: want mysql://user:password@host:port/database")
	}
	cfg := mysql.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", net.JoinHostPort(u.Hostname(), portOr(u, "3306")), name
	for key, values := range u.Query() {
		if key != "tls" {
			return nil, fmt.Errorf("database url: unknown option %q (only tls=true|skip-verify|preferred|false)", key)
		}
		switch values[0] {
		case "true", "false", "skip-verify", "preferred":
			cfg.TLSConfig = values[0]
		default:
			return nil, errors.New("database url: tls is one of true, skip-verify, preferred, false")
		}
	}
	cfg.ClientFoundRows, cfg.InterpolateParams, cfg.ParseTime = true, true, true
	cfg.MultiStatements = true // see mysqlTx
	cfg.Loc, cfg.Collation = time.UTC, "utf8mb4_bin"
	// A server that stops answering without closing its connections must not hold a caller for ever; the longest
	// statements wait 5 s for a lock.
	cfg.Timeout, cfg.ReadTimeout, cfg.WriteTimeout = 5*time.Second, 20*time.Second, 20*time.Second
	return cfg, nil
}

func portOr(u *url.URL, def string) string {
	if p := u.Port(); p != "" {
		return p
	}
	return def
}
