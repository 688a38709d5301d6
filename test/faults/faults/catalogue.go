package faults

import (
	"context"
	"errors"
	"time"

	"github.com/taskweir/taskweir/test/faults/cluster"
	"github.com/taskweir/taskweir/test/faults/history"
)

// Catalogue lists every kind of fault that a cluster of the shape can have, in the order of the table, but those of Clocks.
func Catalogue(shape cluster.Shape) []Kind {
	kinds := signals()
	kinds = append(kinds, aways()...)
	kinds = append(kinds, links(shape)...)
	return append(kinds, points()...)
}

// Clocks lists the kinds that move clocks. They have runs of their own: while clocks are off by an hour no witness can say what came
// before what, so that the checker would be blind for everything else.
func Clocks() []Kind { return clocks() }

// Ahead moves the clocks of all processes a little more than an hour ahead, for the end of a run that had moved them: what was
// submitted while a clock was ahead is due when the clocks come there again, and a run need not wait for it. It gives what the checker is told.
func Ahead(ctx context.Context, c *cluster.Cluster, now func() time.Duration) (history.Fault, error) {
	f := history.Fault{Kind: "clocks moved ahead for the end", Injected: now(), Skew: ahead, Parts: []string{history.PartClock, history.PartAPI, history.PartScheduler}}
	var failed error
	for _, u := range c.Units() {
		if !u.Role.Ours() {
			continue
		}
		f.Targets = append(f.Targets, u.Name)
		if u.Role == cluster.Worker {
			f.Workers = append(f.Workers, u.Name)
		}
		failed = errors.Join(failed, u.SetPoint(ctx, "clock", cluster.Rule{Action: "offset", DelayMs: ahead.Milliseconds()}))
	}
	return f, failed
}

const ahead = 65 * time.Minute

// Groups lists the lines of the README in the catalogue's order.
func Groups(kinds []Kind) (groups []string) {
	seen := map[string]bool{}
	for _, k := range kinds {
		if !seen[k.Group] {
			seen[k.Group] = true
			groups = append(groups, k.Group)
		}
	}
	return groups
}
