package apiv1

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// AppendJSON appends the task, payload and result byte for byte. It is the only writer of tasks on the server: no
// reflection stands on the path of a submit.
func (t *Task) AppendJSON(b []byte) []byte {
	b = t.ID.appendJSON(append(b, `{"id":`...))
	b = appendString(append(b, `,"app":`...), t.App)
	b = appendString(append(b, `,"kind":`...), t.Kind)
	b = appendString(append(b, `,"queue":`...), t.Queue)
	b = appendString(append(b, `,"priority":`...), t.Priority)
	b = appendString(append(b, `,"state":`...), t.State)
	b = appendOptional(append(b, `,"reason":`...), t.Reason)
	b = appendRaw(append(b, `,"payload":`...), t.Payload)
	b = appendRaw(append(b, `,"result":`...), t.Result)
	b = strconv.AppendBool(append(b, `,"resultTruncated":`...), t.ResultTruncated)
	b = t.Error.appendJSON(append(b, `,"error":`...))
	b = strconv.AppendInt(append(b, `,"failures":`...), int64(t.Failures), 10)
	b = strconv.AppendInt(append(b, `,"losses":`...), int64(t.Losses), 10)
	b = t.RetryOf.appendJSON(append(b, `,"retryOf":`...))
	b = t.ScheduleID.appendJSON(append(b, `,"scheduleId":`...))
	b = t.Slot.appendJSON(append(b, `,"slot":`...))
	b = appendOptional(append(b, `,"uniqueKey":`...), t.UniqueKey)
	b = appendOptional(append(b, `,"limitKey":`...), t.LimitKey)
	b = t.ExpiresAt.appendJSON(append(b, `,"expiresAt":`...))
	b = strconv.AppendBool(append(b, `,"zombie":`...), t.Zombie)
	b = t.RunAt.appendJSON(append(b, `,"runAt":`...))
	b = t.CreatedAt.appendJSON(append(b, `,"createdAt":`...))
	b = t.StartedAt.appendJSON(append(b, `,"startedAt":`...))
	b = t.FinishedAt.appendJSON(append(b, `,"finishedAt":`...))
	b = strconv.AppendInt(append(b, `,"timeoutMs":`...), t.TimeoutMs, 10)
	b = t.Retry.appendJSON(append(b, `,"retry":`...))
	b = appendLabels(append(b, `,"labels":`...), t.Labels)
	b = t.CancelRequestedAt.appendJSON(append(b, `,"cancelRequestedAt":`...))
	b = appendOptional(append(b, `,"completionUrl":`...), t.CompletionURL)
	b = t.CompleteBy.appendJSON(append(b, `,"completeBy":`...))
	b = appendRaw(append(b, `,"progress":`...), t.Progress)
	b = append(b, `,"attempts":[`...)
	for i := range t.Attempts {
		if i > 0 {
			b = append(b, ',')
		}
		b = t.Attempts[i].appendJSON(b)
	}
	b = append(b, ']')
	if v := t.Verdict; v != nil {
		b = appendString(append(b, `,"verdict":{"code":`...), v.Code)
		b = appendString(append(b, `,"text":`...), v.Text)
		b = append(b, '}')
	}
	return append(b, '}')
}

// MarshalJSON is AppendJSON; encoding/json compacts what it gives.
func (t Task) MarshalJSON() ([]byte, error) { return t.AppendJSON(nil), nil }

func (e *TaskError) appendJSON(b []byte) []byte {
	if e == nil {
		return append(b, "null"...)
	}
	b = appendString(append(b, `{"code":`...), e.Code)
	b = appendString(append(b, `,"message":`...), e.Message)
	b = appendNonZero(append(b, `,"httpStatus":`...), e.HTTPStatus)
	return append(b, '}')
}

func (r *RetryInForce) appendJSON(b []byte) []byte {
	b = appendString(append(b, `{"policy":`...), r.Policy)
	b = strconv.AppendInt(append(b, `,"baseMs":`...), r.BaseMs, 10)
	b = strconv.AppendInt(append(b, `,"capMs":`...), r.CapMs, 10)
	b = strconv.AppendFloat(append(b, `,"jitter":`...), r.Jitter, 'f', -1, 64)
	b = strconv.AppendInt(append(b, `,"max":`...), int64(r.Max), 10)
	if len(r.DelaysMs) > 0 {
		b = append(b, `,"delaysMs":[`...)
		for i, d := range r.DelaysMs {
			if i > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, d, 10)
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

func (a *Attempt) appendJSON(b []byte) []byte {
	b = a.ID.appendJSON(append(b, `{"id":`...))
	b = strconv.AppendInt(append(b, `,"epoch":`...), int64(a.Epoch), 10)
	b = a.Worker.appendJSON(append(b, `,"worker":`...))
	b = a.StartedAt.appendJSON(append(b, `,"startedAt":`...))
	b = a.FinishedAt.appendJSON(append(b, `,"finishedAt":`...))
	b = appendOptional(append(b, `,"outcome":`...), a.Outcome)
	b = a.Error.appendJSON(append(b, `,"error":`...))
	b = appendNonZero(append(b, `,"httpStatus":`...), a.HTTPStatus)
	b = appendOptional(append(b, `,"logTail":`...), a.LogTail)
	return append(b, '}')
}

func appendLabels(b []byte, labels map[string]string) []byte {
	if len(labels) == 0 {
		return append(b, "{}"...)
	}
	b = append(b, '{')
	for i, k := range slices.Sorted(maps.Keys(labels)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(b, k)
		b = appendString(append(b, ':'), labels[k])
	}
	return append(b, '}')
}

func appendRaw(b []byte, raw json.RawMessage) []byte {
	if len(raw) == 0 {
		return append(b, "null"...)
	}
	return append(b, raw...)
}

func appendNonZero(b []byte, n int) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, int64(n), 10)
}

func appendOptional(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

const hexDigits = "0123456789abcdef"

// appendString appends a JSON string; what is not UTF-8 becomes U+FFFD.
func appendString(b []byte, s string) []byte {
	b = append(b, '"')
	from := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' && c < utf8.RuneSelf {
			i++
			continue
		}
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if r == utf8.RuneError && n == 1 {
				b = append(append(b, s[from:i]...), "\ufffd"...)
				from = i + 1
			}
			i += n
			continue
		}
		b = append(b, s[from:i]...)
		b = appendEscape(b, c)
		i++
		from = i
	}
	b = append(b, s[from:]...)
	return append(b, '"')
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\n':
		return append(b, `\n`...)
	case '\r':
		return append(b, `\r`...)
	case '\t':
		return append(b, `\t`...)
	}
	return append(b, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}
