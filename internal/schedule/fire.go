package schedule

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"

	"github.com/taskweir/taskweir/internal/task"
)

// Fire is what one schedule's slots ask of the store, in one transaction: nothing of it is written when the schedule was
// changed, paused or moved on meanwhile.
type Fire struct {
	ID, Version int64
	AppID       int32
	// From is the NextAt that was read, Next the one to write. With Keep the schedule is not moved on (manual triggers and
	// backfills) and From is not compared; it may be paused then.
	From, Next int64
	Keep       bool
	Overlap    Overlap
	Tracked    bool
	Shots      []Shot // in order
	// Idem makes a fire with Keep, alone in its transaction, repeatable: Repeats (a slot, or the id of a backfill) is
	// remembered under its key, unless no slot of it started or waits.
	Idem    *task.Idempotency
	Repeats int64

	// Set by the store.
	Lost     bool  // another process was first, or the schedule was changed: nothing was written
	Repeated int64 // the key was known with the same body: what was remembered; nothing was written
}

// Shot is one slot on its way into the store.
type Shot struct {
	Slot
	// Sub is the task of a slot whose outcome is Fired, with its id; nil otherwise.
	Sub *task.Submission

	// Set by the store, with Outcome, TaskID and Detail.
	Known bool // the slot had a row already, which was left as it is; its outcome and task are given
}

// Codes of Conflict errors that stores answer about schedules.
const (
	CodeVersion   = "version_changed" // the schedule is not what was read: its version, or (it fired meanwhile) its next slot or pause
	CodeNameTaken = "name_taken"      // another schedule of the app, ScheduleID, has the name
)

// Shot makes the shot of a planned slot: its task with the templates filled. taskID is taken from the store's ids. A template
// that gives no valid task makes a failed slot, with the reason.
func (t *Timetable) Shot(r *Row, s Slot, taskID int64) Shot {
	s.ScheduleID = r.ID
	if s.Outcome != Fired {
		return Shot{Slot: s}
	}
	sub, err := t.submission(r, s, taskID)
	if err != nil {
		s.Outcome, s.Detail = FailedTemplate, cut(err.Error(), 255)
		return Shot{Slot: s}
	}
	return Shot{Slot: s, Sub: sub}
}

func (t *Timetable) submission(r *Row, s Slot, taskID int64) (*task.Submission, error) {
	payload, err := render(t.Task.Payload, r.Name, s.At)
	if err != nil {
		return nil, err
	}
	if len(payload) > task.MaxPayload {
		return nil, fmt.Errorf("the payload with its templates filled has %d bytes, more than %d", len(payload), task.MaxPayload)
	}
	head := t.Task.Head
	head.ScheduleID, head.SlotAt, head.SlotOrigin = r.ID, s.At, s.Origin
	body, err := task.Body{Payload: payload, Head: head}.Encode()
	if err != nil {
		return nil, err
	}
	sub := &task.Submission{ID: taskID, AppID: r.AppID, LaneID: t.Task.LaneID, KindID: t.Task.KindID, Flags: t.Task.Flags,
		TimeoutMs: t.Task.TimeoutMs, Body: body}
	if s.Origin == Planned {
		sub.DueAt = s.At + Jitter(r.ID, s.At, t.JitterMs)
	}
	if t.Tracked() {
		sub.Flags |= task.TracksSchedule
	}
	for _, k := range slices.Sorted(maps.Keys(head.Labels)) {
		sub.Labels = append(sub.Labels, task.Label{Key: k, Value: head.Labels[k]})
	}
	sub.Flow = task.FlowOf(r.AppID, head.LimitKey)
	if sub.Unique = head.Unique(r.AppID); sub.Unique != nil {
		sub.Unique.OnConflict = t.Task.OnConflict
	}
	return sub, nil
}

// Jitter is how much later than its slot a planned task is due, 0 … most ms: a hash of schedule and slot, so that every
// scheduler gives the same.
func Jitter(scheduleID, slot, most int64) int64 {
	if most <= 0 {
		return 0
	}
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], uint64(scheduleID))
	binary.LittleEndian.PutUint64(raw[8:], uint64(slot))
	h := fnv.New64a()
	_, _ = h.Write(raw[:]) // never fails
	x := h.Sum64()         // FNV's low bits of similar inputs are similar: mix them
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	return int64(x % uint64(most+1))
}

// AfterRun gives the failures in a row after one more run, and whether they reached the limit. A cancelled run counts
// neither way.
func AfterRun(failures int, state task.State, limit int) (now int, stop bool) {
	switch state {
	case task.Succeeded:
		return 0, false
	case task.Failed:
		failures++
	}
	return failures, limit > 0 && failures >= limit && state == task.Failed
}

func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && s[n]&0xC0 == 0x80 {
		n--
	}
	return s[:n]
}

// Written is what a transaction leaves to do: bells to ring, running tasks whose workers are to be told to cancel, runs that are
// to be ended by transactions of their own.
type Written struct {
	Bells   []task.Bell
	Cancels []Cancel
	Rest    []Rest
}

// Rest is a schedule with more runs that a slot replaces than one transaction ends: the slot is held until they have ended.
type Rest struct{ ScheduleID, Version int64 }

// Cancel is a running task that was marked.
type Cancel struct {
	TaskID, WorkerID int64
	Epoch            int32
}

// Filter selects schedules of a list.
type Filter struct {
	AppID  int32 // 0: every app
	Paused *bool
	Name   string // exact; empty: all
	Cursor string
	Limit  int
}

// SlotFilter selects slots of one schedule.
type SlotFilter struct {
	ScheduleID int64
	From, To   int64 // slots in [From, To); 0: open
	Outcome    Outcome
	Cursor     string
	Limit      int
}
