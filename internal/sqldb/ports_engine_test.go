package sqldb_test

import (
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/worker"
)

var (
	_ worker.Store    = (*sqldb.Store)(nil)
	_ scheduler.Store = (*sqldb.Store)(nil)
)
