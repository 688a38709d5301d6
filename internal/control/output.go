package control

import (
	"context"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	followEvery = 500 * time.Millisecond // how often the log of a running attempt is asked for
	followFast  = 100 * time.Millisecond // the same while it grows by much
	silentMost  = 4                      // how often that is doubled while the worker does not answer
	muchOutput  = 16 << 10               // bytes since it was last asked for
)

// LogReader reads what an attempt writes, to its end when it follows. It is for one goroutine; Close ends it.
type LogReader struct {
	// Attempt is the attempt's id, 0 while there is none; From is where what is given begins in its output: what was asked for,
	// or what is still kept, the last 64 KiB.
	Attempt, From int64

	s      *Service
	app    int32
	id     int64
	follow bool
	next   int64 // the byte to be given next
	piece  []byte
	over   bool
	row    task.Task // whose attempt is followed
	begun  bool      // there is an attempt
	silent int       // how often in a row its worker did not answer
	wake   chan struct{}
	leave  []func()
	peeker Peeker
}

// OpenLog reads the output of a task's attempt from a byte on (0: all that is kept; attemptID 0: the running one, else the newest that
// wrote anything). With follow it goes on until the attempt ends; for a task that has never run, from its first attempt on. Needs scope read. Missing for an unknown task or attempt;
// Unavailable (live_view_unavailable) when the attempt runs and its worker cannot be asked; Throttled when too many stream.
func (s *Service) OpenLog(ctx context.Context, p Principal, id, attemptID, from int64, follow bool) (_ *LogReader, err error) {
	if err := p.need(task.ScopeRead); err != nil {
		return nil, err
	}
	if from < 0 {
		return nil, task.InvalidField("from", "range", "must not be negative")
	}
	l := &LogReader{s: s, app: p.appID(), id: id, follow: follow, next: from, Attempt: attemptID, wake: make(chan struct{}, 1)}
	l.peeker, _ = s.signals.(Peeker)
	if follow {
		leave, err := s.streams.enter(p.App.ID)
		if err != nil {
			return nil, err
		}
		l.leave = append(l.leave, leave, s.streams.watch(id, l.wake))
	}
	if err := l.open(ctx); err != nil {
		l.Close()
		return nil, err
	}
	if l.From = l.next - int64(len(l.piece)); l.From < 0 {
		l.From = 0
	}
	return l, nil
}

// Close ends reading.
func (l *LogReader) Close() {
	for _, f := range l.leave {
		f()
	}
	l.leave = nil
}

// open reads what there is.
func (l *LogReader) open(ctx context.Context) (err error) {
	if l.row, err = l.s.store.State(ctx, l.app, l.id); err != nil {
		return err
	}
	runs := l.row.State == task.Running && (l.Attempt == 0 || l.Attempt == l.row.AttemptID)
	switch {
	case runs && l.peeker != nil:
		return l.ask(ctx)
	case l.follow && l.Attempt == 0 && l.row.Epoch == 0 && !l.row.State.Final():
		return nil // it has never run
	}
	return l.finish(ctx)
}

// ask asks the worker. When the attempt has just ended, what is stored of it is read.
func (l *LogReader) ask(ctx context.Context) error {
	l.begun, l.Attempt = true, l.row.AttemptID
	for try := 0; ; try++ {
		d, err := l.peeker.Peek(ctx, l.row.WorkerID, l.id, l.row.Epoch, l.next)
		if err != nil {
			return l.unanswered(ctx, err)
		}
		l.silent = 0
		if !d.Gone {
			if len(d.Log) > 0 {
				l.piece = d.Log
				l.next = d.LogFrom + int64(len(d.Log))
			}
			l.over = !l.follow
			return nil
		}
		row, err := l.s.store.State(ctx, l.app, l.id)
		if err != nil {
			return err
		}
		if row.State != task.Running || row.Epoch != l.row.Epoch {
			return l.finish(ctx)
		}
		if try == 3 { // its claim or its end is being written
			l.over = !l.follow
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(lookAgain):
		}
	}
}

// unanswered is what to do about a worker that does not answer: when it is dead, its attempt ends some time without its word. What it
// wrote that nobody fetched is lost then; the rest of the log is that of the attempt as it was stored.
func (l *LogReader) unanswered(ctx context.Context, cause error) error {
	if ctx.Err() != nil {
		return cause
	}
	row, err := l.s.store.State(ctx, l.app, l.id)
	if err != nil {
		return err
	}
	if row.State != task.Running || row.Epoch != l.row.Epoch {
		return l.finish(ctx)
	}
	l.silent = min(l.silent+1, silentMost)
	return liveGone(cause)
}

// finish reads what is stored: there is nothing more to come.
func (l *LogReader) finish(ctx context.Context) error {
	a, err := l.s.store.Output(ctx, l.app, l.id, l.Attempt)
	if err != nil {
		return err
	}
	if l.over = true; a.ID == 0 {
		return nil
	}
	l.Attempt = a.ID
	end := a.LogSkipped + int64(len(a.Log))
	from := min(max(l.next, a.LogSkipped), end)
	l.piece, l.next = a.Log[from-a.LogSkipped:], end
	return nil
}

// Next gives the next piece; after wait without one it gives none. over: there is nothing more. ErrStreamEnded: the process ends.
func (l *LogReader) Next(ctx context.Context, wait time.Duration) (piece []byte, over bool, err error) {
	deadline := time.Now().Add(wait)
	for len(l.piece) == 0 && !l.over {
		pause := time.Until(deadline)
		if pause <= 0 {
			return nil, false, nil
		}
		if l.begun {
			pause = min(pause, followEvery<<l.silent) // whoever asks a dead worker keeps others from asking for a second
		}
		if err := l.pause(ctx, pause); err != nil {
			return nil, false, err
		}
		if err := l.again(ctx); err != nil && task.KindOf(err) != task.Unavailable {
			return nil, false, err
		}
	}
	if piece, l.piece = l.piece, nil; len(piece) < muchOutput || l.over {
		return piece, l.over, nil
	}
	// It writes faster than it is asked: what is not fetched before 64 KiB more are written is lost.
	if err := l.pause(ctx, followFast); err != nil {
		return piece, false, err
	}
	err = l.again(ctx)
	if task.KindOf(err) == task.Unavailable {
		err = nil
	}
	return piece, false, err
}

// again looks what has come.
func (l *LogReader) again(ctx context.Context) error {
	if !l.begun {
		return l.open(ctx)
	}
	return l.ask(ctx)
}

func (l *LogReader) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.wake:
	case <-l.s.streams.done:
		return ErrStreamEnded
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}
