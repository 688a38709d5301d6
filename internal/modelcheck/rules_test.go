package modelcheck_test

import (
	"errors"
	"fmt"

	"github.com/taskweir/taskweir/internal/task"
)

// arrows says which calls may bring a task from one state to another. What is not in it must not happen.
var arrows = map[[2]task.State][]callKind{
	{0, task.Waiting}:                {submitting},
	{task.Waiting, task.Running}:     {claiming},
	{task.Waiting, task.Cancelled}:   {cancelling, submitting}, // a submit that takes its key
	{task.Waiting, task.Failed}:      {expiring, completing},
	{task.Waiting, task.Succeeded}:   {completing},
	{task.Running, task.Waiting}:     {finishing, releasing},
	{task.Running, task.Succeeded}:   {finishing},
	{task.Running, task.Failed}:      {finishing, releasing},
	{task.Running, task.Cancelled}:   {finishing, releasing},
	{task.Failed, task.Waiting}:      {reopening},
	{task.Cancelled, task.Waiting}:   {reopening},
	{task.Succeeded, task.Waiting}:   {reopening},
	{task.Waiting, task.Waiting}:     {runningNow, completing, expiring}, // pulled forward; a retry of what awaited its completion
	{task.Running, task.Running}:     {cancelling},                       // the mark
	{task.Blocked, task.Cancelled}:   {cancelling},
	{task.Failed, task.Failed}:       nil,
	{task.Cancelled, task.Cancelled}: nil,
	{task.Succeeded, task.Succeeded}: nil,
}

// judge says which rule a stretch of a call broke: nil, none.
func (w *world) judge(g *segment) error {
	var want counters
	for i := range g.before.tasks {
		if b := &g.before.tasks[i]; g.after.task(b.id) == nil {
			return fmt.Errorf("task %d is lost", b.id)
		}
	}
	for i := range g.after.tasks {
		a := &g.after.tasks[i]
		b := g.before.task(a.id)
		if b == nil {
			b = &taskRow{id: a.id}
			if want.submitted++; a.id > againID {
				return fmt.Errorf("a repeated submit made task %d", a.id)
			}
		}
		if *a == *b {
			continue
		}
		if err := judgeChange(g, b, a); err != nil {
			return err
		}
		g.count(b, a, &want)
	}
	want.timedOut = g.counted.timedOut
	if g.counted != want {
		return fmt.Errorf("counters: %+v were written, %+v happened", g.counted, want)
	}
	return nil
}

func judgeChange(g *segment, b, a *taskRow) error {
	from, to := task.State(b.state), task.State(a.state)
	allowed := false
	for _, k := range arrows[[2]task.State{from, to}] {
		allowed = allowed || k == g.kind
	}
	if !allowed {
		if from.Final() {
			return fmt.Errorf("I5: the row of task %d changed after its end: %+v became %+v", a.id, *b, *a)
		}
		return fmt.Errorf("task %d went from %s to %s, which this call may not do: %+v became %+v", a.id, stateNames[from], stateNames[to], *b, *a)
	}
	claimed := from == task.Waiting && to == task.Running
	switch {
	case claimed && a.epoch != b.epoch+1:
		return fmt.Errorf("I4: a claim took task %d from epoch %d to %d", a.id, b.epoch, a.epoch)
	case !claimed && a.epoch != b.epoch:
		return fmt.Errorf("I4: the epoch of task %d grew from %d to %d outside of a claim", a.id, b.epoch, a.epoch)
	case from == task.Running && to == task.Running && (a.holder != b.holder || a.worker != b.worker || a.cancel == 0):
		return fmt.Errorf("a running task %d changed: %+v became %+v", a.id, *b, *a)
	case from == task.Running && b.cancel != 0 && to != task.Running && to != task.Cancelled && to != task.Succeeded:
		return fmt.Errorf("task %d was to be cancelled and went to %s", a.id, stateNames[to])
	case from == task.Waiting && to == task.Waiting && g.kind != runningNow && task.Flags(b.flags)&task.Awaiting == 0:
		return fmt.Errorf("a waiting task %d changed: %+v became %+v", a.id, *b, *a)
	}
	return nil
}

// count counts what happened to a task as the statistics must.
func (g *segment) count(b, a *taskRow, c *counters) {
	from, to := task.State(b.state), task.State(a.state)
	if from != to {
		switch to {
		case task.Succeeded:
			c.succeeded++
		case task.Failed:
			c.failed++
		case task.Cancelled:
			c.cancelled++
		}
	}
	if at := g.after.attempt(a.id, a.epoch); at != nil && from != to || at != nil && g.before.attempt(a.id, a.epoch) != nil && *g.before.attempt(a.id, a.epoch) != *at {
		o := task.Outcome(at.outcome)
		switch {
		case from == task.Running && o == task.OutcomeLost:
			c.lost++
		case to == task.Waiting && !from.Final() && (o == task.OutcomeFailed || o == task.OutcomeTimedOut):
			c.retried++
		}
	}
}

func (d *rows) attempt(id, epoch int64) *attemptRow {
	for i := range d.attempts {
		if a := &d.attempts[i]; a.task == id && a.epoch == epoch {
			return a
		}
	}
	return nil
}

// judgeRows says which rule rows break: nil, none.
func (w *world) judgeRows(d *rows) error {
	for i := range d.tasks {
		if err := d.judgeTask(&d.tasks[i]); err != nil {
			return err
		}
	}
	for _, b := range d.bells {
		if n := int64(b.tasks.count()); n != b.n || n == 0 {
			return fmt.Errorf("bell %d lists %q and says %d", b.id, b.tasks.text(), b.n)
		}
	}
	for _, c := range d.claims {
		if n := int64(c.tasks.count()); n != c.n || n == 0 {
			return fmt.Errorf("claim %d lists %q and says %d", c.id, c.tasks.text(), c.n)
		}
	}
	if err := w.judgeKeys(d); err != nil {
		return err
	}
	if err := d.judgeAttempts(); err != nil {
		return err
	}
	for _, l := range d.limits {
		n := int64(0)
		for _, t := range d.tasks {
			if task.Flags(t.flags).Has(task.InQueueLimit) {
				n++
			}
		}
		if l.running != n || n > l.max {
			return fmt.Errorf("limit %s says that %d run of %d, %d tasks hold a place", l.k, l.running, l.max, n)
		}
	}
	return nil
}

func (l idList) count() (n int) {
	for _, id := range l {
		if id != 0 {
			n++
		}
	}
	return n
}

func (d *rows) judgeTask(t *taskRow) error {
	st := task.State(t.state)
	flags := task.Flags(t.flags)
	if flags&task.PlaceFlags != 0 && st != task.Running {
		return fmt.Errorf("task %d is %s and holds a place in a limit", t.id, stateNames[st])
	}
	filed := 0
	for _, e := range d.ends {
		if e.id == t.id {
			filed++
			if e.state != t.state {
				return fmt.Errorf("task %d is %s and filed as %s", t.id, stateNames[st], stateNames[e.state])
			}
		}
	}
	if (st == task.Failed || st == task.Cancelled) != (filed == 1) {
		return fmt.Errorf("task %d is %s and filed %d times", t.id, stateNames[st], filed)
	}
	switch {
	case st == task.Waiting:
		return d.judgeWaiting(t)
	case st == task.Running:
		c := d.claim(t.holder)
		if c == nil || !c.tasks.has(t.id) || c.worker != t.worker {
			return fmt.Errorf("I2: task %d runs, but claim %d of worker %d does not list it", t.id, t.holder, t.worker)
		}
	case t.holder != 0 || t.finished == 0:
		return fmt.Errorf("task %d is %s with holder %d", t.id, stateNames[st], t.holder)
	}
	return nil
}

func (d *rows) judgeWaiting(t *taskRow) error {
	flags := task.Flags(t.flags)
	awaiting := flags.Has(task.Awaiting)
	if t.cancel != 0 {
		return fmt.Errorf("task %d waits although its cancel was asked for", t.id)
	}
	if t.expires != 0 && !awaiting {
		ends := false
		for _, b := range d.bells {
			ends = ends || b.kind == int64(task.ExpireBell) && b.tasks.has(t.id) && b.due == t.expires
		}
		if !ends {
			return fmt.Errorf("I1: task %d waits and expires, but no bell will end it then", t.id)
		}
		if t.expires == past {
			return nil
		}
		if t.expires <= t.due {
			return fmt.Errorf("I1: task %d waits until after its expiry", t.id)
		}
	}
	b := d.bell(t.holder)
	if b == nil || !b.tasks.has(t.id) || b.epoch != t.epoch || b.due != t.due {
		return fmt.Errorf("I1: task %d waits in epoch %d, but bell %d does not hold it so", t.id, t.epoch, t.holder)
	}
	if kind := task.BellKind(b.kind); awaiting && kind != task.DeadlineBell || !awaiting && !kind.Starts() {
		return fmt.Errorf("I1: task %d waits in bell %d of kind %d", t.id, b.id, b.kind)
	}
	return nil
}

// judgeKeys looks whether each unique key is held by who must hold it, and by nobody else.
func (w *world) judgeKeys(d *rows) error {
	for i := range d.tasks {
		t := &d.tasks[i]
		head := w.heads[t.id]
		u := head.Unique(1)
		if u == nil {
			continue
		}
		holds := false
		for _, k := range d.keys {
			holds = holds || k.task == t.id
		}
		final := task.State(t.state).Final()
		switch u.Scope {
		case task.ScopeUntilFinished:
			if holds == final {
				return fmt.Errorf("task %d is %s; that it holds its unique key is %v", t.id, stateNames[t.state], holds)
			}
		case task.ScopeUntilStarted:
			if first := t.state == int64(task.Waiting) && t.epoch == 0; first && !holds || holds && t.state != int64(task.Waiting) {
				return fmt.Errorf("task %d is %s in epoch %d; that it holds its unique key is %v", t.id, stateNames[t.state], t.epoch, holds)
			}
		}
	}
	for _, k := range d.keys {
		if d.task(k.task) == nil {
			return fmt.Errorf("a unique key is held by task %d, which is not there", k.task)
		}
	}
	return nil
}

// judgeAttempts looks whether each epoch that ended has exactly one attempt: a row of its own, or, a plain first success, the
// task's.
func (d *rows) judgeAttempts() error {
	ids := map[int64]attemptKey{}
	see := func(id, tk, epoch int64) error {
		if other, twice := ids[id]; twice && other != (attemptKey{tk, epoch}) {
			return fmt.Errorf("attempt %d is task %d epoch %d and task %d epoch %d", id, tk, epoch, other.task, other.epoch)
		}
		ids[id] = attemptKey{tk, epoch}
		return nil
	}
	for _, a := range d.attempts {
		if err := see(a.id, a.task, a.epoch); err != nil {
			return err
		}
		if t := d.task(a.task); t == nil || a.epoch > t.epoch {
			return fmt.Errorf("an attempt of task %d epoch %d, which never was", a.task, a.epoch)
		}
	}
	for i := range d.tasks {
		t := &d.tasks[i]
		if t.attempt != 0 {
			if err := see(t.attempt, t.id, t.epoch); err != nil {
				return err
			}
		}
		for epoch := int64(1); epoch <= t.epoch; epoch++ {
			runs := epoch == t.epoch && t.state == int64(task.Running)
			has := d.attempt(t.id, epoch) != nil
			plain := t.state == int64(task.Succeeded) && t.epoch == 1
			if has && runs || !has && !runs && !plain {
				return fmt.Errorf("task %d is %s in epoch %d; that epoch %d has a row in attempts is %v", t.id, stateNames[t.state], t.epoch, epoch, has)
			}
		}
	}
	return nil
}

type attemptKey struct{ task, epoch int64 }

// judgeAnswer compares what a caller was told with what happened to the rows in its call.
func judgeAnswer(o *outcome, kind callKind, ans *answer) error {
	if ans == nil || ans.skipped {
		return nil
	}
	if refused := (*task.Error)(nil); ans.err != nil && (!errors.As(ans.err, &refused) || refused.Kind != task.Conflict) {
		return fmt.Errorf("the call failed: %w", ans.err)
	}
	switch kind {
	case claiming:
		return o.judgeClaimed(ans)
	case finishing:
		return o.judgeEndings(ans)
	case cancelling:
		if st := ans.report.State; ans.err == nil && st == task.Cancelled && !o.passed(ans, 0, func(*taskRow, *taskRow) bool { return true }) && st != ans.report.Found {
			return fmt.Errorf("a cancel was confirmed that nothing did")
		}
	case submitting:
		for _, sub := range ans.subs {
			if id := sub.TaskID; sub.Err == nil && (id == 0 || o.after.task(id) == nil) {
				return fmt.Errorf("a submit was answered with task %d, which is not there", id)
			}
		}
	case auditing:
		if ans.mended != 0 {
			return fmt.Errorf("the audit mended %d tasks", ans.mended)
		}
	}
	return nil
}

// passed reports whether a call changed a task (0: any) in a way.
func (o *outcome) passed(ans *answer, id int64, way func(b, a *taskRow) bool) bool {
	for i := range o.segments {
		g := &o.segments[i]
		if g.ans != ans {
			continue
		}
		for k := range g.after.tasks {
			a := &g.after.tasks[k]
			b := g.before.task(a.id)
			if (id == 0 || id == a.id) && b != nil && *a != *b && way(b, a) {
				return true
			}
		}
	}
	return false
}

func (o *outcome) judgeClaimed(ans *answer) error {
	won := map[int64]task.ClaimedTask{}
	for _, one := range ans.claimed.Tasks {
		won[one.ID] = one
		if !o.passed(ans, one.ID, func(b, a *taskRow) bool {
			return b.state == int64(task.Waiting) && a.state == int64(task.Running) && a.epoch == int64(one.Epoch) && a.holder == ans.claimed.ClaimID &&
				a.attempt == one.AttemptID && a.flags&int64(task.PlaceFlags) == int64(one.Places)
		}) {
			return fmt.Errorf("the worker believes to have won task %d in epoch %d", one.ID, one.Epoch)
		}
	}
	for i := range o.after.tasks { // what was taken back before the answer was looked up is nobody's concern any more
		t := &o.after.tasks[i]
		if _, told := won[t.id]; !told && t.state == int64(task.Running) && o.passed(ans, t.id, func(b, a *taskRow) bool {
			return b.state == int64(task.Waiting) && a.state == int64(task.Running) && a.epoch == t.epoch
		}) {
			return fmt.Errorf("the worker was not told that it won task %d", t.id)
		}
	}
	return nil
}

func (o *outcome) judgeEndings(ans *answer) error {
	explained := map[int64]bool{}
	for i := range ans.endings {
		e := &ans.endings[i]
		done := o.passed(ans, e.TaskID, func(b, a *taskRow) bool {
			return b.state == int64(task.Running) && a.state == int64(e.Final) && b.epoch == int64(e.Epoch)
		})
		if done == e.Fenced && ans.err == nil {
			return fmt.Errorf("task %d epoch %d: committed %v, told to be fenced %v", e.TaskID, e.Epoch, done, e.Fenced)
		}
		explained[e.TaskID] = explained[e.TaskID] || done
	}
	for i := range o.after.tasks {
		id := o.after.tasks[i].id
		if !explained[id] && o.passed(ans, id, func(b, a *taskRow) bool { return b.state != a.state }) {
			return fmt.Errorf("an end of another epoch was committed to task %d", id)
		}
	}
	return nil
}
