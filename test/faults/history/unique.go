package history

import (
	"math"
	"slices"
	"time"
)

// release is how much longer than its stored end a key may be held: until the transaction that freed it is committed.
const release = 10 * time.Second

// held is a task that held a unique key: surely from the answer to its submit until its end began, at most from its creation
// until its end was committed.
type held struct {
	row  *Row
	sure span
	most span
}

// uniques checks that no two tasks surely held a key at once, that refusals name somebody who may have held it, and that keys
// which end with their task are free in the end.
func (c *checker) uniques() {
	holders := map[string][]held{}
	byID := map[int64]held{}
	for i := range c.h.End.Tasks {
		r := &c.h.End.Tasks[i]
		if r.UniqueKey == "" {
			continue
		}
		if k, holds := c.holding(r); holds {
			holders[r.UniqueKey] = append(holders[r.UniqueKey], k)
			byID[r.ID] = k
		}
	}
	for key, list := range holders {
		c.apart(key, list)
	}
	for i := range c.h.Ops {
		if o := &c.h.Ops[i]; len(o.Wants) == len(o.Items) {
			for j := range o.Items {
				c.refusal(o, &o.Wants[j], &o.Items[j], byID)
			}
		}
	}
	for _, u := range c.h.End.Uniques {
		if r := c.rows[u.Task]; r != nil && final(r.State) && u.Scope != "window" && u.Scope != "forever" {
			c.violate(RuleUnique, u.Task, "is final and still holds its key (%s)", u.Scope)
		}
	}
}

// holding is how long a task held its key. A task whose submit was never answered holds it at least from nowhere on, one that was
// re-opened took it again at a time that is not stored: of both only the most is known.
func (c *checker) holding(r *Row) (held, bool) {
	until := r.Finished
	first, _, started := c.claimed(r, 1)
	want := c.wants[r.Tag]
	switch r.UniqueScope {
	case "until_started":
		if started {
			until = first
		}
	case "until_due":
		if want == nil || want.DelayMs == 0 {
			return held{}, false // it only looked
		}
		if until = r.Created + want.DelayMs; started {
			until = min(until, first)
		}
		if r.Finished != 0 {
			until = min(until, r.Finished)
		}
	case "window":
		until = r.Created + r.UniqueWindow
	case "forever":
		until = math.MaxInt64 / 2_000_000
	}
	replaced := r.Reason == "replaced" && r.Finished != 0 // who replaces a task takes its key, whatever its scope
	if replaced {
		until = min(until, r.Finished)
	}
	k := held{row: r, sure: span{math.MaxInt64, c.clock.of(until).lo}, most: span{c.clock.of(r.Created).lo, c.clock.of(until).hi + release}}
	if !replaced && (r.UniqueScope == "window" || r.UniqueScope == "until_due") {
		k.most.hi -= release // by time, not by a transaction
	}
	if o := c.made[r.Tag]; o != nil && o.Done() && c.reopened[r.ID] == 0 {
		k.sure.lo = o.Answered
	}
	if c.reopened[r.ID] > 0 {
		k.most.hi = math.MaxInt64
	}
	return k, true
}

// apart checks that no two tasks surely held a key at once.
func (c *checker) apart(key string, list []held) {
	slices.SortFunc(list, func(a, b held) int { return int(min(max(a.sure.lo-b.sure.lo, -1), 1)) })
	var open []held
	for _, b := range list {
		if b.sure.lo == math.MaxInt64 {
			break
		}
		open = slices.DeleteFunc(open, func(a held) bool { return a.sure.hi <= b.sure.lo })
		for _, a := range open {
			if b.sure.hi > a.sure.lo {
				c.violate(RuleUnique, b.row.ID, "held key %q at %v, as task %d did until %v", key, short(b.sure.lo), a.row.ID, short(a.sure.hi))
			}
		}
		open = append(open, b)
	}
}

// refusal checks that the holder which an answer names may have held the key while it was asked for.
func (c *checker) refusal(o *Op, want *Want, it *Item, holders map[int64]held) {
	holder := it.Holder
	if it.Kept {
		holder = it.Task
	} else if it.Code != "unique_key_taken" {
		return
	}
	if o.Kind == OpReplay {
		return
	}
	k, ok := holders[holder]
	switch {
	case want.Unique == nil:
		c.violate(RuleUnique, holder, "op %d has no unique key and was told that it is taken", o.N)
	case !ok || k.row.UniqueKey != want.Unique.Key:
		c.violate(RuleUnique, holder, "op %d was told that it holds key %q, which it never did", o.N, want.Unique.Key)
	case k.most.lo > o.Answered || k.most.hi < o.Sent:
		c.violate(RuleUnique, holder, "op %d was told at %v that it holds key %q; it did at most from %v to %v", o.N, short(o.Answered), want.Unique.Key, short(k.most.lo), short(k.most.hi))
	}
}
