//go:build !faults

package sqldb

import (
	"database/sql"
	"database/sql/driver"

	"github.com/go-sql-driver/mysql"
)

// Faults of the drivers are injected in builds with the tag faults only.

func tapDial(*mysql.Config) {}

func faultyMySQL(c driver.Connector) driver.Connector { return c }

func faultySQLite(db *sql.DB, _ string) *sql.DB { return db }

func lostAnswer([]*turn) error { return nil }
