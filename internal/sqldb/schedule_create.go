package sqldb

import (
	"context"
	"database/sql"
	"errors"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// errNameTaken says that another schedule of the app has the name: the transaction is rolled back, then it is looked up.
var errNameTaken = errors.New("name taken")

// CreateSchedule stores a schedule under its id (ScheduleIDs) as version 1, not failed, and in the same transaction what fire
// says of it: nil, or slots that are won without being compared with anything. The database's time is its time of creation.
// Where fire moves the schedule on, its Next is the next slot that is stored.
//
// A name that another schedule of the app has is a Conflict (schedule.CodeNameTaken, ScheduleID). A known idempotency key with
// the same body gives the schedule that it made, replayed, as it is now, or Missing when that was deleted since; with another
// body it is a Conflict.
func (s *Store) CreateSchedule(ctx context.Context, row schedule.Row, fire *schedule.Fire, idem *task.Idempotency) (got schedule.Row, replayed bool, w schedule.Written, err error) {
	f, err := s.newFiring(ctx, firesOf(fire))
	if err != nil {
		return got, false, w, err
	}
	row.Version, row.Failures, row.CreatedAt, row.UpdatedAt = 1, 0, f.u.now, f.u.now
	c := creating{firing: f, row: row}
	if idem != nil {
		c.req = &task.Request{AppID: row.AppID, Idem: &task.Idempotency{Key: idem.Key, Body: idem.Body}, Tasks: []*task.Submission{{ID: row.ID}}}
	}
	err = s.writeSettled(ctx, c.run, s.found("SELECT 1 FROM schedules WHERE id=?", row.ID))
	switch {
	case errors.Is(err, errNameTaken):
		return got, false, w, s.nameTaken(ctx, row.AppID, row.Name, err)
	case err != nil:
		return got, false, w, f.u.failed(err)
	case c.known != 0:
		got, err = s.ScheduleByID(ctx, row.AppID, c.known)
		return got, true, w, err
	}
	return c.row, false, f.written(), nil
}

func firesOf(fire *schedule.Fire) []*schedule.Fire {
	if fire == nil {
		return nil
	}
	return []*schedule.Fire{fire}
}

// creating is one new schedule.
type creating struct {
	*firing
	row   schedule.Row
	req   *task.Request // nil: no idempotency key
	known int64         // the schedule that the key made before
}

const insertScheduleSQL = "INSERT INTO schedules (" + scheduleColumns + ",shard) VALUES (?,?,?,?,?,?,?,?,?,?,?)"

func (c *creating) run(ctx context.Context, t tx) (err error) {
	c.begin()
	c.known = 0
	if c.req != nil {
		if c.known, err = c.u.rememberSchedule(ctx, t, c.req); err != nil || c.known != 0 {
			return err
		}
	}
	r := &c.row
	for _, one := range c.fires {
		if !one.Keep {
			r.NextAt = one.Next
		}
	}
	if _, err := t.exec(ctx, insertScheduleSQL, r.ID, r.AppID, r.Name, r.Version, r.Pause, r.NextAt, r.Failures, r.CreatedAt, r.UpdatedAt,
		r.Definition, schedule.Shard(r.ID)); err != nil {
		if duplicate(err) {
			err = errNameTaken
		}
		return err
	}
	c.winAll(&lockedSchedule{id: r.ID, appID: r.AppID, version: r.Version, nextAt: r.NextAt, pause: r.Pause})
	if err := c.s.noteOn(ctx, t, r.AppID); err != nil {
		return err
	}
	return c.write(ctx, t)
}

// winAll takes fires of one schedule that the transaction itself writes.
func (f *firing) winAll(row *lockedSchedule) {
	f.rows[row.id] = row
	f.won = f.fires
}

// rememberSchedule writes the idempotency key of a request that makes a schedule, and gives the one that it made before.
func (u *submit) rememberSchedule(ctx context.Context, t tx, r *task.Request) (known int64, err error) {
	one := []*task.Request{r}
	if n, err := u.insertKeys(ctx, t, one); err != nil || n == 1 {
		return 0, err
	}
	rows, err := readKeys(ctx, t, keysOf(one))
	if err != nil {
		return 0, err
	}
	row := rows[r.Idem.Key]
	switch {
	case row.taskID == r.Tasks[0].ID:
		return 0, nil
	case row.expiresAt <= u.now:
		_, err = u.renewKey(ctx, t, r)
		return 0, err
	case row.request != r.Idem.Body:
		return 0, &task.Error{Kind: task.Conflict, Code: "idempotency_key_reused", Message: "the idempotency key was used with another body"}
	}
	return row.taskID, nil
}

// nameTaken says which schedule has a name.
func (s *Store) nameTaken(ctx context.Context, appID int32, name string, cause error) error {
	e := &task.Error{Kind: task.Conflict, Code: schedule.CodeNameTaken, Message: "another schedule has this name", Cause: cause}
	if err := s.readEach(ctx, "SELECT id FROM schedules WHERE app_id=? AND name=?", func(rows *sql.Rows) error {
		return rows.Scan(&e.ScheduleID)
	}, appID, name); err != nil {
		return err
	}
	return e
}
