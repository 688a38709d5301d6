package sqldb

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"gorm.io/gorm"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

// Pragmas of the writer and of the readers. A commit is on disk when it is answered (synchronous=FULL). Caches stay small
// (KiB when negative): the whole standalone is to stay under 80 MB, and the page cache of the system holds the rest.
const (
	writerPragmas = "_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=foreign_keys(0)" +
		"&_pragma=cache_size(-8192)&_pragma=temp_store(2)&_pragma=wal_autocheckpoint(2000)&_pragma=journal_size_limit(33554432)"
	readerPragmas = "_pragma=busy_timeout(5000)&_pragma=query_only(1)&_pragma=cache_size(-2048)&_pragma=temp_store(2)"
)

func (s *Store) openSQLite(ctx context.Context, file string, readers int) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("database folder: %w", err)
	}
	if readers <= 0 {
		readers = 4
	}
	name := (&url.URL{Scheme: "file", Path: filepath.ToSlash(file)}).String()
	wdb, err := sql.Open("sqlite", name+"?"+writerPragmas)
	if err != nil {
		return fmt.Errorf("open sqlite: %w", err)
	}
	wdb = faultySQLite(wdb, name+"?"+writerPragmas)
	wdb.SetMaxOpenConns(1)
	conn, err := wdb.Conn(ctx) // makes the file and its WAL, which readers cannot
	if err != nil {
		_ = wdb.Close()
		return s.interpret(fmt.Errorf("open %s: %w", file, err))
	}
	s.writer = newWriter(wdb, conn, s.log)
	if s.db, err = sql.Open("sqlite", name+"?"+readerPragmas); err != nil {
		s.writer.close()
		return fmt.Errorf("open sqlite: %w", err)
	}
	s.db.SetMaxOpenConns(readers)
	s.db.SetMaxIdleConns(2)
	if s.orm, err = gorm.Open(liteDialector{pool: s.db}, gormConfig()); err != nil {
		_ = s.Close()
		return fmt.Errorf("open gorm: %w", err)
	}
	return nil
}
