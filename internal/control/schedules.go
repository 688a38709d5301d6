package control

import (
	"context"
	"slices"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/schedule"
	"github.com/taskweir/taskweir/internal/task"
)

// Schedule is a schedule with what its row says in other words.
type Schedule struct {
	schedule.Row
	Rule   *schedule.Definition
	AppKey string
	Words  string // the spec in words
}

// Guard looks at a schedule before it is changed and may refuse. It is asked again when the change has to begin anew.
type Guard func(schedule.Row) error

// CreateSchedule stores a schedule and, in the same transaction, the slots of its next 2 s. Errors: Invalid with every broken
// rule; Conflict when the name is taken (ScheduleID says by which one) or the idempotency key was used for another request.
// Needs scope manage.
func (s *Service) CreateSchedule(ctx context.Context, p Principal, in *ScheduleInput, idem *IdempotencyKey) (out Schedule, replayed bool, err error) {
	if err := s.mayCreateSchedule(p, idem); err != nil {
		return out, false, err
	}
	known := idem.remembered(p.App.ID)
	now := s.clock.Now()
	t, err := s.definition(ctx, p, in, now)
	if err != nil {
		if task.KindOf(err) == task.Invalid && known != nil {
			return s.scheduleOf(ctx, p, *known, err)
		}
		return out, false, err
	}
	row := schedule.Row{AppID: p.App.ID, Name: in.Name.V, Version: 1, CreatedAt: now, UpdatedAt: now}
	if in.Paused.V {
		row.Pause = schedule.PausedByUser
	}
	if row.ID, err = s.schedules.ScheduleIDs(ctx, 1); err != nil {
		return out, false, err
	}
	if row.Definition, err = t.Encode(); err != nil {
		return out, false, err
	}
	fire, err := s.ahead(ctx, &row, t, now)
	if err != nil {
		return out, false, err
	}
	tctx, e := s.trail(ctx, p, "schedule.create", row.ID)
	e.After = scheduleDocument(row)
	got, replayed, w, err := s.schedules.CreateSchedule(tctx, row, fire, known)
	if err != nil {
		return out, false, err
	}
	if !replayed {
		s.carryOut(ctx, w)
		s.recorded(ctx, p, e, "name", got.Name)
	}
	out, err = s.showSchedule(ctx, p, got)
	return out, replayed, err
}

func (s *Service) mayCreateSchedule(p Principal, idem *IdempotencyKey) error {
	if err := p.need(task.ScopeManage); err != nil {
		return err
	}
	if p.App.Disabled {
		return errAppDisabled
	}
	if err := p.one(); err != nil {
		return err
	}
	if p.App.Key == task.SystemApp {
		return errSystemSchedule
	}
	return idem.check()
}

var errSystemSchedule = &task.Error{Kind: task.Conflict, Code: "system_schedule",
	Message: "the schedules of the system app are Taskweir's own: they can be paused, resumed, triggered and skipped, not made, changed, backfilled or deleted"}

// check refuses a key that cannot be stored; nil is no key.
func (k *IdempotencyKey) check() error {
	if k != nil && (len(k.Key) < 1 || len(k.Key) > MaxIdempotency) {
		return task.InvalidField("Idempotency-Key", "length", "must be 1 … 255 bytes")
	}
	return nil
}

// scheduleOf answers a request that breaks a rule by now but may have been stored when it did not.
func (s *Service) scheduleOf(ctx context.Context, p Principal, idem task.Idempotency, refusal error) (Schedule, bool, error) {
	known, ok, err := s.store.Remembered(ctx, idem.Key)
	switch {
	case err != nil:
		return Schedule{}, false, err
	case !ok || known.Body != idem.Body || len(known.ItemIDs) != 1:
		return Schedule{}, false, refusal
	}
	out, err := s.Schedule(ctx, p, known.ItemIDs[0])
	return out, true, err
}

// Schedule gives one. Needs scope read.
func (s *Service) Schedule(ctx context.Context, p Principal, id int64) (Schedule, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return Schedule{}, err
	}
	row, err := s.schedules.ScheduleByID(ctx, p.appID(), id)
	if err != nil {
		return Schedule{}, err
	}
	return s.showSchedule(ctx, p, row)
}

// Schedules lists them, newest first; f.AppID is set from the principal. Needs scope read.
func (s *Service) Schedules(ctx context.Context, p Principal, f schedule.Filter) ([]Schedule, string, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, "", err
	}
	var bad faults
	checkPage(&bad, f.Limit, f.Cursor)
	if utf8.RuneCountInString(f.Name) > schedule.MaxName {
		bad.add("name", "length", "must be 1 … 100 printable characters")
	}
	if err := bad.err(); err != nil {
		return nil, "", err
	}
	f.AppID = p.appID()
	rows, next, err := s.schedules.ListSchedules(ctx, f)
	if err != nil {
		return nil, "", err
	}
	keys, err := s.appKeys(ctx, p, rows)
	if err != nil {
		return nil, "", err
	}
	out := make([]Schedule, len(rows))
	for i, r := range rows {
		if out[i], err = shown(r, keys[r.AppID]); err != nil {
			return nil, "", err
		}
	}
	return out, next, nil
}

func checkPage(f *faults, limit int, cursor string) {
	if limit < 1 || limit > 1000 {
		f.add("limit", "range", "must be 1 … 1000")
	}
	if len(cursor) > 512 {
		f.add("cursor", "format", "is not a cursor of this list")
	}
}

// appKeys gives the public keys of the apps of rows.
func (s *Service) appKeys(ctx context.Context, p Principal, rows []schedule.Row) (map[int32]string, error) {
	keys := map[int32]string{p.App.ID: p.App.Key}
	if !slices.ContainsFunc(rows, func(r schedule.Row) bool { return r.AppID != p.App.ID }) {
		return keys, nil
	}
	apps, err := s.store.Apps(ctx)
	for _, a := range apps {
		keys[a.ID] = a.Key
	}
	return keys, err
}

func (s *Service) showSchedule(ctx context.Context, p Principal, row schedule.Row) (Schedule, error) {
	keys, err := s.appKeys(ctx, p, []schedule.Row{row})
	if err != nil {
		return Schedule{}, err
	}
	return shown(row, keys[row.AppID])
}

func shown(row schedule.Row, appKey string) (Schedule, error) {
	t, err := compiled(row)
	if err != nil {
		return Schedule{}, err
	}
	return Schedule{Row: row, Rule: t.Definition, AppKey: appKey, Words: describe(t)}, nil
}

// Slots lists what became of a schedule's slots, newest slot first. Needs scope read.
func (s *Service) Slots(ctx context.Context, p Principal, id int64, f schedule.SlotFilter) ([]schedule.Slot, string, error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, "", err
	}
	var bad faults
	checkPage(&bad, f.Limit, f.Cursor)
	if f.From != 0 && f.To != 0 && f.To <= f.From {
		bad.add("to", "after", "must be later than from")
	}
	if err := bad.err(); err != nil {
		return nil, "", err
	}
	if _, err := s.schedules.ScheduleByID(ctx, p.appID(), id); err != nil {
		return nil, "", err
	}
	f.ScheduleID = id
	return s.schedules.ListSlots(ctx, f)
}
