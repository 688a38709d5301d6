package sqldb

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"gorm.io/gorm"

	"github.com/taskweir/taskweir/internal/dbclock"
	"github.com/taskweir/taskweir/internal/failpoint"
	"github.com/taskweir/taskweir/internal/metrics"
	"github.com/taskweir/taskweir/internal/task"
)

// Options says which database to open.
type Options struct {
	URL      string       // sqlite:///path or mysql://user:password@host:port/database?tls=…
	Logger   *slog.Logger // nil: silent
	Metrics  *metrics.Set // nil: none
	MaxConns int          // MySQL: most connections, default 16. SQLite: most readers, default 4

	// ListTime is when a list that has not found enough gives what it has and says where to go on. Default 500 ms; tests of what
	// lists find set it long, or a busy machine makes their pages shorter.
	ListTime time.Duration
}

// Store is the database. It is safe for concurrent use.
type Store struct {
	mysql   bool
	db      *sql.DB // MySQL: every connection but the allocator's. SQLite: the readers
	alloc   *sql.DB // MySQL: id allocation, a pool of its own so that a full db cannot block it
	writer  *writer // SQLite only
	orm     *gorm.DB
	log     *slog.Logger
	metrics *metrics.Set
	clock   *dbclock.Clock

	taskIDs, runs  blocks
	engine         engine
	lanes          laneCache
	kinds, appKeys nameCache
	instants       instants
	limits         limitTable
	shardsDue      string // the statement of ShardsDue by dives
	fairPlan       loose  // of duePairsMySQL
	duePlan        loose  // of shardsDueMySQL
	listTime       time.Duration
	closing        sync.Once
	closed         atomic.Bool
	changes        atomic.Pointer[task.ChangeSink]
}

// Open connects and measures the database's clock once. It does not look at the schema: see CheckSchema and Migrate. Its
// errors never show the password.
func Open(ctx context.Context, o Options) (*Store, error) {
	s := &Store{log: o.Logger, metrics: o.Metrics, shardsDue: shardDives(), listTime: cmp.Or(o.ListTime, listTime)}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.taskIDs.name, s.runs.name = "task", "run"
	file, cfg, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	if s.mysql = cfg != nil; s.mysql {
		err = s.openMySQL(cfg, o.MaxConns)
	} else {
		err = s.openSQLite(ctx, file, o.MaxConns)
	}
	if err != nil {
		return nil, err
	}
	s.clock = dbclock.New(failpoint.Clock(s.clockSource()), s.log)
	if err := s.clock.Sync(ctx); err != nil {
		_ = s.Close()
		return nil, s.interpret(err)
	}
	return s, nil
}

// clockSource asks MySQL for its time. SQLite runs inside this process and has none of its own.
func (s *Store) clockSource() dbclock.Source {
	if !s.mysql {
		return dbclock.Host
	}
	return func(ctx context.Context) (at int64, err error) {
		err = s.db.QueryRowContext(ctx, "SELECT CAST(UNIX_TIMESTAMP(NOW(6)) * 1000000 AS SIGNED)").Scan(&at)
		return at, err
	}
}

// Close ends the writer after the transactions that wait for it, and closes every connection. Later calls answer that
// the database is unavailable.
func (s *Store) Close() error {
	var err error
	s.closing.Do(func() {
		s.closed.Store(true)
		if s.writer != nil {
			s.writer.close()
		}
		for _, db := range []*sql.DB{s.alloc, s.db} {
			if db == nil {
				continue
			}
			if e := db.Close(); e != nil && err == nil {
				err = fmt.Errorf("close database: %w", e)
			}
		}
	})
	return err
}

// Clock is the database's clock. Somebody must Run it.
func (s *Store) Clock() *dbclock.Clock { return s.clock }

// MySQL reports whether the database is MySQL or MariaDB, not SQLite.
func (s *Store) MySQL() bool { return s.mysql }

// reader gives the connections for plain reads. On SQLite they refuse to write.
func (s *Store) reader() *sql.DB { return s.db }

// now is the database's time in ms.
func (s *Store) now() int64 { return s.clock.Now() }

// Ping reports whether the database answers.
func (s *Store) Ping(ctx context.Context) error {
	var one int
	return s.interpret(s.db.QueryRowContext(ctx, "SELECT 1").Scan(&one))
}
