package rdb

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxReports  = 4 << 20               // bytes of reports that one worker shows: with each refresh they are sent again
	reportBatch = 32                    // reports of one command
	maxReport   = 4<<10 + 128           // bytes of one, as it is kept
	reportedFor = 50 * time.Millisecond // how long one is waited for: whoever asks for a task gets it without as well
)

// Report shows what tasks reported last, beside their entries: of a task that has none, nothing is shown. Nor is it when a
// worker's tasks report too much together: then the task shows no report, rather than an old one. With an error they will be
// shown when Redis is back, as entries are.
func (c *Client) Report(ctx context.Context, workerID int64, reports []task.LiveReport) error {
	if len(reports) == 0 {
		return nil
	}
	v := c.lockView(workerID)
	defer v.mu.Unlock()
	if len(v.entries) == 0 {
		c.dropView(workerID, v)
		return nil
	}
	added, left := make(map[int64]string, len(reports)), []string(nil)
	for _, r := range reports {
		if _, shown := v.entries[r.TaskID]; !shown {
			continue
		}
		raw, err := json.Marshal(r)
		if err != nil {
			return fmt.Errorf("report: %w", err)
		}
		was := v.unsay(r.TaskID)
		if len(raw) > maxReport || v.bytes+len(raw) > maxReports {
			if was {
				left = append(left, strconv.FormatInt(r.TaskID, 10))
			}
			continue
		}
		v.say(r.TaskID, string(raw))
		added[r.TaskID] = string(raw)
	}
	return errors.Join(c.hide(ctx, reportsKey(workerID), left), c.show(ctx, reportsKey(workerID), added, reportBatch))
}

// say remembers a report; the task has none.
func (v *liveView) say(id int64, raw string) {
	if v.reports == nil {
		v.reports = map[int64]string{}
	}
	v.reports[id] = raw
	v.bytes += len(raw)
}

// unsay forgets what a task reported, and tells whether there was anything.
func (v *liveView) unsay(id int64) bool {
	raw, ok := v.reports[id]
	if ok {
		delete(v.reports, id)
		v.bytes -= len(raw)
	}
	return ok
}

// Reported gives what an attempt reported last, as its worker, of whichever process, shows it; nil when it shows nothing. It
// answers within about 50 ms. A Redis that takes longer is not asked again for a second, by this method only: whoever needs it
// for more waits longer.
func (c *Client) Reported(ctx context.Context, workerID, taskID int64, epoch int32) (json.RawMessage, error) {
	if !c.reported.allows() {
		return nil, fmt.Errorf("read report: %w", ErrGone)
	}
	short, cancel := context.WithTimeout(ctx, reportedFor)
	defer cancel()
	var raw []byte
	err := c.do(short, "read report", func(ctx context.Context) (err error) {
		raw, err = c.rdb.HGet(ctx, reportsKey(workerID), strconv.FormatInt(taskID, 10)).Bytes()
		return err
	})
	switch {
	case err == nil:
		c.reported.succeeded()
	case errors.Is(err, redis.Nil):
		c.reported.succeeded()
		return nil, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		c.reported.failed()
		return nil, err
	}
	var r task.LiveReport
	if len(raw) > maxReport || json.Unmarshal(raw, &r) != nil || r.TaskID != taskID || r.Epoch != epoch {
		return nil, nil //nolint:nilerr // what cannot be read says nothing
	}
	return r.Vars, nil
}
