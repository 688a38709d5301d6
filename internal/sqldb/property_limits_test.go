package sqldb_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// hardLimit is the concurrency of the queue "other", which no interleaving may exceed.
const hardLimit = 25

// limitSome sets, changes, pauses and takes away limits while tasks run.
func (c *chaos) limitSome(r *rand.Rand) time.Duration {
	limits := task.Limits{}
	if r.IntN(3) > 0 {
		limits.Concurrency = 1 + r.IntN(40)
	}
	if r.IntN(3) == 0 {
		limits.RateTasks, limits.RatePerMs, limits.RateBurst = 1+r.IntN(1000), 1000, 1+r.IntN(50)
	}
	paused := r.IntN(5) == 0
	s := c.any(r)
	switch r.IntN(4) {
	case 0:
		c.temporary("limit a queue", s.PutQueue(c.ctx, "default", limits, paused))
	case 1:
		c.temporary("limit an app", s.LimitApp(c.ctx, task.App{ID: int32(1 + r.IntN(2)), Limits: limits, Paused: paused}))
	case 2:
		_, err := s.PutLimitKey(c.ctx, int32(1+r.IntN(2)), fmt.Sprint("key", r.IntN(5)), limits, paused)
		c.temporary("limit a key", err)
	case 3:
		c.temporary("free a key", s.DeleteLimitKey(c.ctx, int32(1+r.IntN(2)), fmt.Sprint("key", r.IntN(5))))
	}
	if _, _, err := s.AuditLimits(c.ctx, "", 100); err != nil {
		c.temporary("audit limits", err)
	}
	return time.Duration(r.IntN(60)) * time.Millisecond
}

// unlimit takes away every limit but the hard one, so that what is left ends soon.
func (c *chaos) unlimit() {
	c.must(c.s.PutQueue(c.ctx, "default", task.Limits{}, false))
	for app := int32(1); app <= 2; app++ {
		c.must(c.s.LimitApp(c.ctx, task.App{ID: app}))
		for i := range 5 {
			_, err := c.s.PutLimitKey(c.ctx, app, fmt.Sprint("key", i), task.Limits{}, false)
			c.must(err)
		}
	}
}

// ringFlows rings bells as a scheduler finds them by their flows.
func (c *chaos) ringFlows(r *rand.Rand, p task.LaneApp, now int64) {
	var after int64
	for {
		flows, err := c.any(r).DueFlows(c.ctx, p.LaneID, p.AppID, p.Kind, after, 2)
		if c.temporary("due flows", err) || len(flows) == 0 {
			return
		}
		var wants []task.FlowWant
		for _, f := range flows {
			if f.Flow <= after {
				c.fail("flow %d comes after %d", f.Flow, after)
			}
			after = f.Flow
			wants = append(wants, task.FlowWant{Flow: f.Flow, Bells: 1 + r.IntN(5)})
		}
		bells, err := c.any(r).FlowBells(c.ctx, p.LaneID, p.AppID, p.Kind, now, wants)
		c.temporary("bells of flows", err)
		for _, b := range bells {
			if b.DueAt > now || b.LaneID != p.LaneID || b.AppID != p.AppID || b.Flow == 0 || b.Kind != p.Kind {
				c.fail("FlowBells gave %+v for %+v", b, p)
			}
		}
		c.send(r, bells...)
	}
}

// snapshotLimits holds every limit against the running tasks of its scope.
func (c *chaos) snapshotLimits(ctx context.Context, tx *sql.Tx) error {
	rows, err := tx.QueryContext(ctx, `SELECT l.k,l.max,l.running,
		(SELECT COUNT(*) FROM tasks t JOIN lanes n ON n.id=t.lane_id WHERE t.state=3 AND (l.app_id<>0 AND t.app_id=l.app_id OR l.app_id=0 AND n.queue=l.name) AND (l.flow=0 OR t.flags & 65536 <> 0)),
		(SELECT COUNT(*) FROM tasks t JOIN lanes n ON n.id=t.lane_id WHERE t.state=3 AND n.queue='other')
		FROM limits l WHERE l.max>0`)
	if err != nil {
		return err
	}
	defer rows.Close()
	keys, byApp := map[string]int{}, map[string]int{}
	for rows.Next() {
		var k string
		var most, running, held, other int
		if err := rows.Scan(&k, &most, &running, &held, &other); err != nil {
			return err
		}
		if other > hardLimit {
			c.fail("%d tasks run in a queue of at most %d", other, hardLimit)
		}
		if k[0] == 'k' { // the database cannot tell an app's keys apart: their sum counts
			app := k[:4]
			keys[app] += running
			byApp[app] = held
		} else if running != held {
			c.fail("limit %s counts %d, %d tasks run", k, running, held)
		}
		if k == "q:other" && running > most {
			c.fail("limit %s is exceeded: %d of %d", k, running, most)
		}
	}
	for app, n := range keys {
		// Tasks may keep the mark of a key that is limited no more.
		if n > byApp[app] {
			c.fail("limits %s count %d, %d tasks hold places", app, n, byApp[app])
		}
	}
	return rows.Err()
}
