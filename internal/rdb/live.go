package rdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	liveTTL     = 15 * time.Second
	liveRefresh = 5 * time.Second
	liveMax     = 4096 // entries of one worker
	liveBatch   = 256  // entries of one command: a server serves nobody else meanwhile
)

// liveViews remembers what the workers of this process show, to keep it alive and to show it again to a Redis that lost
// it. Its size is bounded by the workers' slots, and by liveMax.
type liveViews struct {
	mu    sync.Mutex
	views map[int64]*liveView

	refreshing, closed bool
}

// liveView is what one worker shows. mu orders what is sent, so that a refresh cannot bring back what just left.
type liveView struct {
	mu      sync.Mutex
	entries map[int64]string // task id to JSON
	reports map[int64]string // the same of what some of them reported; nil: nothing
	bytes   int              // of reports
	gone    bool             // dropped from liveViews: take a new one
}

// Enter shows tasks of a worker. With an error nothing may be shown yet; it will be when Redis is back.
func (c *Client) Enter(ctx context.Context, workerID int64, entries []task.LiveEntry) error {
	if len(entries) == 0 {
		return nil
	}
	v := c.lockView(workerID)
	defer v.mu.Unlock()
	added := make(map[int64]string, len(entries))
	for _, e := range entries {
		raw, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("enter live view: %w", err)
		}
		if _, known := v.entries[e.TaskID]; !known && len(v.entries) >= liveMax {
			continue
		}
		v.entries[e.TaskID], added[e.TaskID] = string(raw), string(raw)
	}
	return c.show(ctx, liveKey(workerID), added, liveBatch)
}

// Leave takes tasks off. With an error they are shown for 15 s at most after Redis is back.
func (c *Client) Leave(ctx context.Context, workerID int64, taskIDs []int64) error {
	if len(taskIDs) == 0 {
		return nil
	}
	v := c.lockView(workerID)
	defer v.mu.Unlock()
	fields, said := make([]string, len(taskIDs)), []string(nil)
	for i, id := range taskIDs {
		delete(v.entries, id)
		fields[i] = strconv.FormatInt(id, 10)
		if v.unsay(id) {
			said = append(said, fields[i])
		}
	}
	if len(v.entries) == 0 {
		c.dropView(workerID, v)
	}
	return errors.Join(c.hide(ctx, liveKey(workerID), fields), c.hide(ctx, reportsKey(workerID), said))
}

// hide takes fields out of a view.
func (c *Client) hide(ctx context.Context, key string, fields []string) error {
	if len(fields) == 0 {
		return nil
	}
	return c.do(ctx, "leave live view", func(ctx context.Context) error { return c.rdb.HDel(ctx, key, fields...).Err() })
}

// Running lists what a worker shows, of whichever process. Its error means that Redis is gone.
func (c *Client) Running(ctx context.Context, workerID int64) ([]task.LiveEntry, error) {
	var all map[string]string
	err := c.do(ctx, "read live view", func(ctx context.Context) (err error) {
		all, err = c.rdb.HGetAll(ctx, liveKey(workerID)).Result()
		return err
	})
	if err != nil {
		return nil, err
	}
	out := make([]task.LiveEntry, 0, len(all))
	for _, raw := range all {
		var e task.LiveEntry
		if json.Unmarshal([]byte(raw), &e) == nil && e.TaskID > 0 {
			out = append(out, e)
		}
	}
	return out, nil
}

// show sends entries to a view, some at a time, and refreshes its end.
func (c *Client) show(ctx context.Context, key string, entries map[int64]string, batch int) error {
	args := []any{liveTTL.Milliseconds(), liveMax}
	for id, raw := range entries {
		if args = append(args, id, raw); len(args) > 2*batch {
			if err := c.showSome(ctx, key, args); err != nil {
				return err
			}
			args = args[:2]
		}
	}
	if len(args) == 2 {
		return nil
	}
	return c.showSome(ctx, key, args)
}

func (c *Client) showSome(ctx context.Context, key string, args []any) error {
	return c.do(ctx, "enter live view", func(ctx context.Context) error {
		return enterLive.Run(ctx, c.rdb, []string{key}, args...).Err()
	})
}

// lockView gives a worker's view, locked, and sees to it that the refresher runs.
func (c *Client) lockView(workerID int64) *liveView {
	for {
		c.live.mu.Lock()
		v := c.live.views[workerID]
		if v == nil {
			if !c.live.refreshing && !c.live.closed {
				c.live.refreshing = true
				c.tasks.Go(c.refreshLive)
			}
			v = &liveView{entries: make(map[int64]string)}
			c.live.views[workerID] = v
		}
		c.live.mu.Unlock()
		v.mu.Lock()
		if !v.gone {
			return v
		}
		v.mu.Unlock()
	}
}

// dropView forgets an empty view; v is locked.
func (c *Client) dropView(workerID int64, v *liveView) {
	c.live.mu.Lock()
	defer c.live.mu.Unlock()
	v.gone = true
	delete(c.live.views, workerID)
}

// refreshLive keeps views alive until there are none.
func (c *Client) refreshLive() {
	t := time.NewTicker(liveRefresh)
	defer t.Stop()
	for {
		select {
		case <-c.ctx.Done():
			return
		case <-t.C:
		}
		if !c.refreshOnce() {
			return
		}
	}
}

// refreshOnce sends every view again, whole: the server may have lost it. It reports whether there was any.
func (c *Client) refreshOnce() bool {
	c.live.mu.Lock()
	views := make(map[int64]*liveView, len(c.live.views))
	for id, v := range c.live.views {
		views[id] = v
	}
	c.live.refreshing = len(views) > 0
	c.live.mu.Unlock()
	for id, v := range views {
		v.mu.Lock()
		if !v.gone {
			if err := errors.Join(c.show(c.ctx, liveKey(id), v.entries, liveBatch), c.show(c.ctx, reportsKey(id), v.reports, reportBatch)); err != nil {
				c.log.Debug("live view not refreshed", "worker", id, "err", err)
			}
		}
		v.mu.Unlock()
	}
	return len(views) > 0
}
