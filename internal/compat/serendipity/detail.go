package serendipity

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// The numbers of a task's status.
const (
	statusWaiting   = 0 // scheduled, before its first run
	statusRunning   = 1 // due, running, or waiting for a retry
	statusProcessed = 2
	statusCancelled = 3
	statusFailed    = 4
)

// live is what a client reads of a run. The zero value, with TraceList "null", is what it reads of an unknown one.
type live struct {
	State     *string         `json:"state"`
	TraceList string          `json:"trace_list"` // JSON text of frames, innermost first
	File      *string         `json:"executed_file_name"`
	Function  *string         `json:"executed_function_name"`
	Line      *int            `json:"executed_function_line"`
	Vars      json.RawMessage `json:"vars"`
	Round     *int64          `json:"round"`
	Elapsed   *int64          `json:"elapsed"` // ms
}

// detail is live, and what is added when a task was asked for.
type detail struct {
	live
	CoroutineID *int64  `json:"coroutine_id"` // of the newest run
	ServiceID   *string `json:"service_id"`   // of its worker
	Task        *row    `json:"task"`
}

// frame is one frame as PHP shows it.
type frame struct {
	File     string `json:"file"`
	Line     int    `json:"line"`
	Function string `json:"function"`
	Class    string `json:"class"` // package, or package and type
	Type     string `json:"type"`  // "->" for a method, else "::"
}

func (a *api) taskDetail(ctx context.Context, c call) (httpkit.Response, error) {
	r, err := a.named(ctx, c)
	if err != nil {
		return httpkit.Response{}, err
	}
	out := detail{live: live{TraceList: "null", Vars: json.RawMessage("null")}}
	if !r.known {
		return ok(textOK, out.live)
	}
	if _, runs := r.running(); runs {
		if out.live, err = a.look(ctx, c, &r); err != nil {
			return httpkit.Response{}, err
		}
	}
	if !r.byID {
		return ok(textOK, out.live)
	}
	if n := len(r.view.Attempts); n > 0 {
		newest := &r.view.Attempts[n-1]
		worker := strconv.FormatInt(newest.WorkerID, 10)
		out.CoroutineID, out.ServiceID = &newest.ID, &worker
	}
	out.Task = a.rowOf(&r.view)
	return ok(textOK, out)
}

// look asks the worker. A run that has just ended is unknown; of one whose worker cannot be asked, the database knows that it
// runs and for how long.
func (a *api) look(ctx context.Context, c call, r *run) (live, error) {
	nothing := live{TraceList: "null", Vars: json.RawMessage("null")}
	attempt, _ := r.running()
	d, _, err := a.svc.Look(ctx, c.who, r.view.ID)
	switch {
	case task.CodeOf(err) == "live_view_unavailable":
		state, elapsed := "running", max(0, a.svc.Now()-r.view.StartedAt)
		nothing.State, nothing.Elapsed = &state, &elapsed
		return nothing, nil
	case task.KindOf(err) == task.Conflict, task.KindOf(err) == task.NotFound && err != nil, err == nil && d.AttemptID != attempt:
		return nothing, nil
	case err != nil:
		return nothing, err
	}
	return liveOf(&d)
}

// liveOf dresses a look up as the document shows it.
func liveOf(d *task.LiveDetail) (live, error) {
	out := live{Vars: vars(d.Progress), Round: &d.Round, Elapsed: &d.ElapsedMs}
	state, frames := "running", []frame{}
	if len(d.Goroutines) > 0 {
		g := &d.Goroutines[0]
		if g.State != "running" && g.State != "syscall" {
			state = "waiting"
		}
		for _, f := range g.Frames {
			frames = append(frames, frameOf(f))
		}
	}
	out.State = &state
	if len(frames) > 0 {
		out.File, out.Function, out.Line = &frames[0].File, &frames[0].Function, &frames[0].Line
	}
	raw, err := json.Marshal(frames)
	out.TraceList = string(raw)
	return out, err
}

// vars is what the handler reported, as an array or object: anything else is wrapped.
func vars(progress json.RawMessage) json.RawMessage {
	switch {
	case len(progress) == 0:
		return json.RawMessage("[]")
	case progress[0] == '{', progress[0] == '[':
		return progress
	}
	return json.RawMessage("[" + string(progress) + "]")
}

// frameOf takes the name of a Go function apart: "net/http.(*conn).serve" is method serve of class net/http.conn.
func frameOf(f task.Frame) frame {
	name := strings.ReplaceAll(f.Function, "[...]", "") // type arguments
	out := frame{File: f.File, Line: f.Line, Function: name, Type: "::"}
	slash := strings.LastIndexByte(name, '/') + 1
	dot := strings.IndexByte(name[slash:], '.')
	if dot < 0 {
		return out
	}
	out.Class, out.Function = name[:slash+dot], name[slash+dot+1:]
	pointer, rest, isPointer := strings.Cut(out.Function, ").")
	if isPointer && strings.HasPrefix(pointer, "(*") {
		out.Class, out.Function, out.Type = out.Class+"."+pointer[2:], rest, "->"
		return out
	}
	// "T.Method" is a method, "f.func1" a function within one.
	if receiver, method, ok := strings.Cut(out.Function, "."); ok && !strings.HasPrefix(method, "func") && !strings.HasPrefix(method, "gowrap") {
		out.Class, out.Function, out.Type = out.Class+"."+receiver, method, "->"
	}
	return out
}

// row is a task as the original's table had it. Times are date-times in the configured zone; null: not yet.
type row struct {
	ID         int64   `json:"id"`
	TaskNo     string  `json:"task_no"`
	Name       string  `json:"name"`
	Status     int     `json:"status"`
	Step       int64   `json:"step"`
	Runtime    string  `json:"runtime"`
	Content    string  `json:"content"`
	Timeout    int32   `json:"timeout"`     // ms
	RetryTimes int     `json:"retry_times"` // the run that is running or comes next; of a task that is over the last; 1 is the first
	Memo       *string `json:"memo"`        // why it failed or was cancelled
	Result     *string `json:"result"`      // of a handler
	CreatedAt  string  `json:"created_at"`
	UpdatedAt  *string `json:"updated_at"`
	Logs       []log   `json:"logs"`
}

// log is one run that ended.
type log struct {
	CoroutineID int64  `json:"coroutine_id"`
	Retry       int    `json:"retry"` // number of the run, 1 for the first
	Remark      string `json:"remark"`
	CreatedAt   string `json:"created_at"`
}

func (a *api) rowOf(v *task.View) *row {
	head := &v.Body.Head
	out := &row{ID: v.ID, TaskNo: head.UniqueKey, Name: head.Name, Status: statusOf(v, a.svc.Now()), Content: string(v.Body.Payload),
		Timeout: v.TimeoutMs, Runtime: compat.FormatTime(plannedFor(v), a.zone), CreatedAt: compat.FormatTime(v.CreatedAt, a.zone), Logs: []log{}}
	if p := head.RetryPolicy(); p.Policy == "linear" {
		out.Step = p.BaseMs / 1000
	}
	for i := range v.Attempts {
		t := &v.Attempts[i]
		switch t.Outcome {
		case task.OutcomeNone, task.OutcomeReleased, task.OutcomeSnoozed:
			continue
		}
		out.Logs = append(out.Logs, log{t.ID, len(out.Logs) + 1, remark(t), compat.FormatTime(t.FinishedAt, a.zone)})
	}
	if out.RetryTimes = len(out.Logs) + 1; v.State.Final() {
		out.RetryTimes = max(1, len(out.Logs))
	}
	if at := max(v.StartedAt, v.FinishedAt, v.CancelAt); at != 0 {
		s := compat.FormatTime(at, a.zone)
		out.UpdatedAt = &s
	}
	if s, ok := memo(v, out.Logs); ok {
		out.Memo = &s
	}
	if v.Result != nil {
		s := strings.ToValidUTF8(string(v.Result), "\uFFFD")
		out.Result = &s
	}
	return out
}

// plannedFor is when the task was to run first.
func plannedFor(v *task.View) int64 {
	switch {
	case v.Body.Head.RunAt != 0:
		return v.Body.Head.RunAt
	case v.Epoch == 0:
		return v.DueAt
	}
	return v.CreatedAt
}

func statusOf(v *task.View, now int64) int {
	switch v.State {
	case task.Blocked:
		return statusWaiting
	case task.Waiting:
		if v.Epoch == 0 && v.DueAt > now {
			return statusWaiting
		}
		return statusRunning
	case task.Running:
		return statusRunning
	case task.Succeeded:
		return statusProcessed
	case task.Cancelled:
		return statusCancelled
	}
	return statusFailed
}

// memo says why a task is where it is.
func memo(v *task.View, logs []log) (string, bool) {
	switch {
	case v.State == task.Cancelled:
		return memoCancelled, true
	case v.State == task.Succeeded || len(logs) == 0:
		return "", false
	}
	return logs[len(logs)-1].Remark, true
}

const maxLogRemark = 255 // characters

// remark says how a run ended: by what the receiver answered, where it answered something.
func remark(t *task.Attempt) string {
	switch {
	case t.Outcome == task.OutcomeSucceeded:
		return success
	case t.Outcome == task.OutcomeCancelled:
		return memoCancelled
	case t.Outcome == task.OutcomeTimedOut:
		return memoTimeout
	case t.Outcome == task.OutcomeLost:
		return memoLost
	case t.ErrCode == codeEmptyAnswer:
		return ""
	case t.ErrMessage == "", !utf8.ValidString(t.ErrMessage):
		return memoFailed
	}
	return cut(t.ErrMessage, maxLogRemark)
}
