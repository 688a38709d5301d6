package sqldb

import (
	"context"
	"database/sql"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// claimLimits is what the limits leave to one claim.
type claimLimits struct {
	nowNs int64
	bells []bellLimits              // as claiming.bells
	rows  map[task.LimitScope]*room // of those that bound anything
}

// bellLimits is what limits the tasks of one bell.
type bellLimits struct {
	paused bool
	rooms  [3]*room
	held   bool // more of it might have been taken but for limits
}

// room is one limit, its row locked.
type room struct {
	task.Limit
	left, won int
}

// heedLimits finds out what limits the bells, and locks and reads the rows of these limits. Nothing is asked when nothing is limited.
func (c *claiming) heedLimits(ctx context.Context) error {
	if c.s.limits.empty() {
		return nil
	}
	queue, err := c.s.queueOf(ctx, c.req.LaneID)
	if err != nil {
		return err
	}
	of := make([]limitsOf, len(c.bells))
	rows := map[task.LimitScope]*room{}
	for i := range c.bells {
		b := &c.bells[i]
		of[i], _ = c.s.limits.of(queue, b.AppID, b.Flow)
		for _, l := range of[i] {
			if l != nil {
				rows[l.Scope] = nil
			}
		}
	}
	if len(rows) == 0 {
		return nil
	}
	if err := c.lockLimits(ctx, rows); err != nil {
		return err
	}
	c.limits = &claimLimits{nowNs: c.s.now() * 1e6, bells: make([]bellLimits, len(c.bells)), rows: rows}
	for i := range of {
		b := &c.limits.bells[i]
		for k, l := range of[i] {
			if l == nil || rows[l.Scope] == nil {
				continue
			}
			r := rows[l.Scope]
			b.paused = b.paused || r.Paused
			if !r.None() {
				r.left = r.Allows(r.LimitCount, c.limits.nowNs, true, c.req.Max)
				b.rooms[k] = r
			}
		}
	}
	return nil
}

// lockLimits locks the rows that are named and fills them in; those that are not there any more stay nil.
func (c *claiming) lockLimits(ctx context.Context, rows map[task.LimitScope]*room) error {
	scopes := make([]task.LimitScope, 0, len(rows))
	for scope := range rows {
		scopes = append(scopes, scope)
	}
	slices.Sort(scopes)
	for part := range slices.Chunk(scopes, maxList) {
		x := newText(2 * len(part)).s(limitColumns).s(c.s.force()).s(" WHERE k IN (").scopes(part).s(")")
		if err := forEach(ctx, c.t, c.s.locked(x, "k", len(part)).String(), func(r *sql.Rows) error {
			l, err := scanLimit(r)
			rows[l.Scope] = &room{Limit: l}
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

// room is how many tasks of a bell may start now, as far as its limits go.
func (l *claimLimits) room(bell int) int {
	if l == nil {
		return maxList
	}
	b := &l.bells[bell]
	if b.paused {
		return 0
	}
	n := maxList
	for _, r := range b.rooms {
		if r != nil {
			n = min(n, r.left)
		}
	}
	return n
}

// take takes the places of one task of a bell, or reports that there is none.
func (l *claimLimits) take(bell int) bool {
	if l.room(bell) == 0 {
		l.bells[bell].held = true
		return false
	}
	for _, r := range l.bells[bell].rooms {
		if r != nil {
			r.left--
		}
	}
	return true
}

// won counts a task that was won and gives the places that it holds.
func (l *claimLimits) won(bell int) {
	for _, r := range l.bells[bell].rooms {
		if r != nil {
			r.won++
		}
	}
}

// placesOf gives the places that a running task of a bell holds.
func (l *claimLimits) placesOf(bell int) (out task.Flags) {
	if l == nil {
		return 0
	}
	for k, r := range l.bells[bell].rooms {
		if r != nil && r.Concurrency > 0 {
			out |= placeFlag[k]
		}
	}
	return out
}

// held reports whether the rest of a bell waits for its limits.
func (l *claimLimits) held(bell int) bool { return l != nil && l.bells[bell].held }

// setPlaces appends the part of the claim's UPDATE that notes the places of the chosen tasks.
func (c *claiming) setPlaces(x *text) {
	values := make([]int64, 0, len(c.chosen))
	any := int64(0)
	for i := range c.listing {
		if l := &c.listing[i]; l.chosen {
			f := int64(c.limits.placesOf(int(l.bell)))
			values, any = append(values, f), any|f
		}
	}
	if any != 0 {
		x.s(",flags=flags|(").perID(c.chosen, values).s(")")
	}
}

// raiseLimits writes how the locked limits stand now.
func (c *claiming) raiseLimits(ctx context.Context) error {
	scopes := make([]task.LimitScope, 0, len(c.limits.rows))
	for scope, r := range c.limits.rows {
		if r != nil && r.won > 0 {
			scopes = append(scopes, scope)
		}
	}
	slices.Sort(scopes)
	for _, scope := range scopes {
		r := c.limits.rows[scope]
		now := r.Started(r.LimitCount, r.won, c.limits.nowNs)
		if err := c.t.add(ctx, raiseLimitSQL(scope, now)); err != nil {
			return err
		}
	}
	return nil
}

func raiseLimitSQL(scope task.LimitScope, now task.LimitCount) string {
	return newText(4).s("UPDATE limits SET running=").n(int64(now.Running)).s(",tat=").n(now.Tat).s(" WHERE k='").s(string(scope)).s("'").String()
}
