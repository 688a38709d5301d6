package sqldb_test

import (
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/scheduler"
	"github.com/taskweir/taskweir/internal/sqldb"
	"github.com/taskweir/taskweir/internal/worker"
)

var (
	_ control.Store   = (*sqldb.Store)(nil)
	_ worker.Store    = (*sqldb.Store)(nil)
	_ scheduler.Store = (*sqldb.Store)(nil)

	_ control.ScheduleStore   = (*sqldb.Store)(nil)
	_ scheduler.ScheduleStore = (*sqldb.Store)(nil)
)
