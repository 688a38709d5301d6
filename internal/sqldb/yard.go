package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
)

// Reader is a pool that only reads, for measurements. It is the store's own: do not close it.
func (s *Store) Reader() *sql.DB { return s.db }

// OpenYard opens what a yardstick may write to, to be compared with the store: on MySQL the same server and session
// settings, on SQLite a file of its own in dir with the same settings and one connection. The caller closes it.
func OpenYard(ctx context.Context, databaseURL, dir string) (*sql.DB, error) {
	_, cfg, err := parseURL(databaseURL)
	if err != nil {
		return nil, err
	}
	if cfg != nil {
		s := Store{log: slog.New(slog.DiscardHandler)}
		if err := s.openMySQL(cfg, 2); err != nil {
			return nil, err
		}
		_ = s.alloc.Close() // never used
		return s.db, nil
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("yardstick folder: %w", err)
	}
	name := (&url.URL{Scheme: "file", Path: filepath.ToSlash(filepath.Join(dir, "yard.db"))}).String()
	db, err := sql.Open("sqlite", name+"?"+writerPragmas)
	if err != nil {
		return nil, fmt.Errorf("open sqlite: %w", err)
	}
	db.SetMaxOpenConns(1)
	return db, db.PingContext(ctx)
}
