package measure

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
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
	if before == nil || after == nil {
		r.res.none(Memory, "MB")
		r.res.none(Memory+MemoryGrown, "MB")
		return nil
	}
	var all, grown float64
	for name := range r.processes() {
		all += after[name]
		grown += after[name] - before[name]
		r.res.add(Memory+": "+name, "MB", after[name])
	}
	r.res.add(Memory, "MB", all)
	r.res.add(Memory+MemoryGrown, "MB", grown)
	if early := s.extra.Load(); early > 0 { // the others were never to run, so nothing is known of them
		r.res.Fates = append(r.res.Fates, Fate{Measure: Memory, Early: early})
	}
	return nil
}

// resident is what each process has in RAM, in MB, when it has come to rest; nil where this process may not know that of a server,
// which another user owns.
func (r *round) resident(ctx context.Context) (map[string]float64, error) {
	if err := pause(ctx, 10*r.o.Settle); err != nil {
		return nil, err
	}
	debug.FreeOSMemory()
	mb := map[string]float64{}
	for name, pid := range r.processes() {
		bytes, err := usage.Memory(pid)
		if errors.Is(err, fs.ErrPermission) {
			r.say("memory is not measured: %v", err)
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("memory of %s: %w", name, err)
		}
		mb[name] = float64(bytes) / 1e6
	}
	return mb, nil
}
