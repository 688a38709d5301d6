package measure

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/usage"
)

// memoryDelay is in how long the tasks are due: nothing starts while memory is measured, and nsqd takes no more than an hour.
const memoryDelay = 50 * time.Minute

// memory measures what is resident in all processes with many tasks waiting for their time, and how much of it came with them.
func (r *round) memory(ctx context.Context) error {
	s, err := r.section(ctx, 0, false)
	if err != nil {
		return err
	}
	before, err := r.resident(ctx)
	if err != nil {
		return err
	}
	due := time.Now().Add(memoryDelay).Truncate(time.Second)
	took, err := r.fill(ctx, r.o.Delayed, system.Noop, due)
	if err != nil {
		return err
	}
	r.res.add("submit of delayed tasks", "tasks/s", perSecond(int64(r.o.Delayed), took))
	after, err := r.resident(ctx)
	if err != nil {
		return err
	}
	var all, grown float64
	for name := range r.processes() {
		all += after[name]
		grown += after[name] - before[name]
		r.res.add(Memory+": "+name, "MB", after[name])
	}
	r.res.add(Memory, "MB", all)
	r.res.add(Memory+MemoryGrown, "MB", grown)
	r.res.Fates = append(r.res.Fates, Fate{Measure: Memory, Submitted: r.submitted(s), Early: s.extra.Load()})
	return nil
}

// resident is what each process has in RAM, in MB, when it has come to rest.
func (r *round) resident(ctx context.Context) (map[string]float64, error) {
	if err := pause(ctx, 10*r.o.Settle); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	mb := map[string]float64{}
	for name, pid := range r.processes() {
		u, err := usage.Of(pid)
		if err != nil {
			return nil, fmt.Errorf("usage of %s: %w", name, err)
		}
		mb[name] = float64(u.Memory) / 1e6
	}
	return mb, nil
}
