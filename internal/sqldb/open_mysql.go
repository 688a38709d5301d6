package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/go-sql-driver/mysql"
	gormmysql "gorm.io/driver/mysql"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// sessionSetup runs on every new connection. As statements, because the isolation variable's name differs between MySQL 8
// and MariaDB. sql_mode is set so that no server's default lets a value be cut silently or changes how strings are quoted.
var sessionSetup = [...]string{
	"SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
	"SET SESSION innodb_lock_wait_timeout = 5, time_zone = '+00:00', sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION'",
}

func (s *Store) openMySQL(cfg *mysql.Config, maxConns int) error {
	cfg.Logger = driverLog{s.log}
	tapDial(cfg)
	plain, err := mysql.NewConnector(cfg)
	if err != nil {
		return errors.New("database url: the driver refuses it")
	}
	c := faultyMySQL(sessionConnector{plain})
	if maxConns <= 0 {
		maxConns = 16
	}
	s.db = pool(c, maxConns)
	s.alloc = pool(c, 2)
	s.orm, err = gorm.Open(gormmysql.New(gormmysql.Config{Conn: s.db, SkipInitializeWithVersion: true}), gormConfig())
	if err != nil {
		return fmt.Errorf("open gorm: %w", err)
	}
	return nil
}

func pool(c driver.Connector, n int) *sql.DB {
	db := sql.OpenDB(c)
	db.SetMaxOpenConns(n)
	db.SetMaxIdleConns(n)
	db.SetConnMaxIdleTime(time.Minute)
	return db
}

func gormConfig() *gorm.Config {
	return &gorm.Config{SkipDefaultTransaction: true, DisableAutomaticPing: true, Logger: logger.Discard, TranslateError: false}
}

// sessionConnector sets every new connection up.
type sessionConnector struct{ driver.Connector }

func (c sessionConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	for _, q := range sessionSetup {
		if _, err := conn.(driver.ExecerContext).ExecContext(ctx, q, nil); err != nil {
			_ = conn.Close()
			return nil, fmt.Errorf("set up session: %w", err)
		}
	}
	return conn, nil
}

// driverLog takes what the driver prints (broken connections, mostly) into the log.
type driverLog struct{ log *slog.Logger }

func (l driverLog) Print(v ...any) { l.log.Debug("mysql driver", "msg", fmt.Sprint(v...)) }
