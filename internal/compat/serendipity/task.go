package serendipity

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxTaskNo  = 50              // characters
	maxName    = 64              // characters
	retryCapMs = 3_600_000       // the longest pause
	killIn     = 2 * time.Second // how long a cancel waits for a run to end
)

// createTask submits a task.
func (a *api) createTask(ctx context.Context, c call) (httpkit.Response, error) {
	in, err := a.taskInput(c)
	if err != nil {
		return httpkit.Response{}, err
	}
	done, err := a.svc.Submit(ctx, c.who, in, nil)
	if err != nil {
		return httpkit.Response{}, a.submitRefusal(in, err)
	}
	b := append(c.Scratch(), `{"code":0,"msg":"ok!","data":{"taskId":`...)
	b = strconv.AppendInt(b, done.View.ID, 10)
	return httpkit.Appended(http.StatusOK, append(b, `}}`...)), nil
}

// taskInput reads the parameters of a task in the document's order: the first rule that is broken is answered.
func (a *api) taskInput(c call) (*control.Input, error) {
	taskNo, err := taskNumber(c.params)
	if err != nil {
		return nil, err
	}
	in := &control.Input{UniqueKey: control.Some(taskNo), UniqueScope: "forever", Retry: retryOf(c.who.App.Legacy)}
	if v := c.params.Get("runtime"); v.Given() {
		s, readable := v.Scalar()
		at, ok := compat.ParseTime(s, a.zone)
		if !readable || !ok {
			return nil, rule(nameRuntime, ruleDate)
		}
		in.RunAt = control.Some(at)
	}
	if in.Payload, err = content(c.params.Get("content")); err != nil {
		return nil, err
	}
	name, err := text(c.params.Get("name"), nameTask, true, maxName)
	if err != nil {
		return nil, err
	}
	in.Name = name
	if in.TimeoutMs, err = timeout(c.params.Get("timeout")); err != nil {
		return nil, err
	}
	if in.Kind = a.kindOf(in.Payload); in.Kind != Kind && c.who.App.CallbackURL != "" {
		in.CompletionURL, in.CompletionKind = control.Some(c.who.App.CallbackURL), ResultKind
	}
	return in, nil
}

// taskNumber reads a taskNo. A client that leaves it out gets one, as it did.
func taskNumber(p compat.Params) (string, error) {
	if !slices.ContainsFunc(p, func(x compat.Param) bool { return x.Name == "taskNo" }) {
		return newUUID(), nil
	}
	return text(p.Get("taskNo"), nameTaskNo, true, maxTaskNo)
}

// newUUID draws a UUID of version 4.
func newUUID() string {
	var b [16]byte
	rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

// timeout reads the limit of a run in ms; -1 is the server's default.
func timeout(v compat.Value) (m control.Maybe[int64], err error) {
	if m, err = whole(v, nameTimeout, -1, task.MaxTimeoutMs); err != nil {
		return m, err
	}
	switch {
	case !m.Set:
		return m, rule(nameTimeout, ruleRequired)
	case m.V == -1:
		return control.Some[int64](task.DefaultTimeoutMs), nil
	case m.V == 0:
		return m, rule(nameTimeout, ruleRange(1, task.MaxTimeoutMs))
	}
	return m, nil
}

// retryOf is the policy of an app's tasks: step × n seconds, at most an hour, retryTotal times.
func retryOf(l task.Legacy) *control.RetryInput {
	step, total := l.Step, l.RetryTotal
	if step == 0 {
		step = defaultStep
	}
	if total < 0 {
		total = defaultRetryTotal
	}
	return &control.RetryInput{Policy: "linear", BaseMs: control.Some(int64(step) * 1000), CapMs: control.Some[int64](retryCapMs),
		Jitter: control.Some(0.0), Max: control.Some(int64(total))}
}

// content reads a content: the text that a client sent, which must be JSON, or the JSON text of the object that it sent.
func content(v compat.Value) ([]byte, error) {
	if !v.Given() {
		return nil, rule(nameContent, ruleRequired)
	}
	if raw, ok := v.Compact(); ok {
		return raw, nil
	}
	s, ok := v.Scalar()
	if raw := []byte(s); ok && httpkit.ValidJSON(raw) {
		return raw, nil
	}
	return nil, rule(nameContent, ruleJSON)
}

// kindOf is the kind of task that runs a content: that of its class in the configured table, else the callback.
func (a *api) kindOf(content []byte) string {
	if len(a.classes) == 0 {
		return Kind
	}
	class := ""
	s := httpkit.NewScanner(content)
	s.Object(func(key []byte) {
		if string(key) != "class" {
			s.Raw()
			return
		}
		class, _ = s.String()
	})
	if s.End() != nil || len(s.Broken()) > 0 { // a class that is no text, or two of them
		return Kind
	}
	class = strings.TrimLeft(class, `\`)
	if kind, ok := a.classes[class]; ok && class != "" {
		return kind
	}
	if kind, ok := a.classes[class[strings.LastIndexByte(class, '\\')+1:]]; ok && class != "" {
		return kind
	}
	return Kind
}

// submitRefusal says what the use case refused.
func (a *api) submitRefusal(in *control.Input, err error) error {
	switch task.KindOf(err) {
	case task.Conflict:
		return refusal(textRepeated)
	case task.TooLarge:
		return rule(nameContent, "不能超过 "+strconv.Itoa(task.MaxPayload)+" 字节")
	case task.Invalid:
		for _, f := range fieldsOf(err) {
			switch f.Field {
			case "uniqueKey":
				return rule(nameTaskNo, ruleLength(maxTaskNo))
			case "runAt":
				return rule(nameRuntime, ruleDate)
			case "kind":
				if in.Kind == Kind { // the app has no URL to call
					return rule(nameURL, ruleRequired)
				}
				a.log.Warn("a class is mapped to a kind that nobody declared", "kind", in.Kind)
			}
		}
		return refusal(textUnknown)
	}
	return err
}

// publish rings a task again, or runs it again when it is over.
func (a *api) publish(ctx context.Context, c call) (httpkit.Response, error) {
	v := c.params.Get("task_id")
	id, given, err := number(v)
	if err != nil || !given {
		s, _ := v.Scalar()
		return httpkit.Response{}, unknownTask(cut(s, 32))
	}
	_, err = a.svc.RingAgain(ctx, c.who, id)
	switch {
	case err == nil:
		return ok(textCreated, noData)
	case task.KindOf(err) == task.NotFound:
		return httpkit.Response{}, unknownTask(strconv.FormatInt(id, 10))
	case task.KindOf(err) == task.Internal:
		return httpkit.Response{}, err
	}
	return httpkit.Response{}, refusal(textNotPushed)
}

// cut keeps the first characters of a text.
func cut(s string, most int) string {
	n := 0
	for i := range s {
		if n == most {
			return s[:i]
		}
		n++
	}
	return s
}
