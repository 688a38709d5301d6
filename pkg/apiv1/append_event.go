package apiv1

import "strconv"

// AppendJSON appends the event as encoding/json would write it, without reflection: thousands are sent a second.
func (e *Event) AppendJSON(b []byte) []byte {
	b = appendString(append(b, `{"id":`...), e.ID)
	b = appendString(append(b, `,"type":`...), e.Type)
	b = e.At.appendJSON(append(b, `,"at":`...))
	b = e.Task.appendJSON(append(b, `,"task":`...))
	for _, f := range [...]struct{ name, value string }{{`,"app":`, e.App}, {`,"kind":`, e.Kind}, {`,"queue":`, e.Queue}, {`,"state":`, e.State}} {
		if f.value != "" {
			b = appendString(append(b, f.name...), f.value)
		}
	}
	b = strconv.AppendInt(append(b, `,"epoch":`...), int64(e.Epoch), 10)
	if e.Outcome != "" {
		b = appendString(append(b, `,"outcome":`...), e.Outcome)
	}
	if e.Reason != "" {
		b = appendString(append(b, `,"reason":`...), e.Reason)
	}
	if e.Error != nil {
		b = e.Error.appendJSON(append(b, `,"error":`...))
	}
	if e.Worker != 0 {
		b = e.Worker.appendJSON(append(b, `,"worker":`...))
	}
	if e.DueAt != 0 {
		b = e.DueAt.appendJSON(append(b, `,"dueAt":`...))
	}
	if len(e.Progress) > 0 {
		b = append(append(b, `,"progress":`...), e.Progress...)
	}
	return append(b, '}')
}
