package app

import (
	"context"

	"github.com/taskweir/taskweir/internal/events"
	"github.com/taskweir/taskweir/internal/rest"
)

// startChanges tells what this process changes to those who listen to events, as long as somebody does.
func (a *App) startChanges() {
	a.changes = events.NewWriter(a.redis, a.log)
	a.store.TellChanges(a.changes)
	a.life.run("events", a.fail, quiet(a.changes.Run))
}

// hub is the reader of the stream of events for all who listen here. The use cases end it.
func (a *App) hub() *events.Hub {
	return events.NewHub(events.Options{Source: a.redis, Encode: rest.AppendEvent, Logger: a.log,
		Names: func(ctx context.Context, app, lane, kind int32) (n events.Names, err error) {
			n.App, n.Queue, n.Kind, err = a.store.Names(ctx, app, lane, kind)
			return n, err
		}})
}
