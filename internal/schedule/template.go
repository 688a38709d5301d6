package schedule

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// The names that templates may use (spec/v1 "Schedules"): {{slot}}, the slot as RFC 3339 UTC with milliseconds;
// {{slotUnix}}, the slot in unix seconds; {{schedule.name}}. Blanks inside the braces are allowed. They stand inside JSON
// strings, so what they become is escaped like one.
const (
	slotName     = "slot"
	slotUnixName = "slotUnix"
	nameName     = "schedule.name"
)

// CheckTemplate says what is wrong with the templates of a payload: unknown names and braces that are not closed. It is
// empty when nothing is.
func CheckTemplate(payload []byte) string {
	_, err := expand(payload, func(name string) (string, bool) {
		switch name {
		case slotName, slotUnixName, nameName:
			return "", true
		}
		return "", false
	})
	if err != nil {
		return err.Error()
	}
	return ""
}

// Fill gives the payload that the task of a slot gets. The error says which template is wrong.
func Fill(payload []byte, name string, slot int64) ([]byte, error) {
	return render(payload, name, slot)
}

// render fills the templates of a payload for a slot.
func render(payload []byte, name string, slot int64) ([]byte, error) {
	if !bytes.Contains(payload, []byte("{{")) {
		return payload, nil
	}
	return expand(payload, func(n string) (string, bool) {
		switch n {
		case slotName:
			return time.UnixMilli(slot).UTC().Format("2006-01-02T15:04:05.000Z07:00"), true
		case slotUnixName:
			return strconv.FormatInt(slot/1000, 10), true
		case nameName:
			return quoted(name), true
		}
		return "", false
	})
}

// expand replaces what stands between {{ and }} inside JSON strings. Braces outside of strings are JSON's own.
func expand(payload []byte, value func(name string) (string, bool)) ([]byte, error) {
	out := make([]byte, 0, len(payload)+64)
	inside := false
	for i := 0; i < len(payload); i++ {
		c := payload[i]
		switch {
		case inside && c == '\\' && i+1 < len(payload):
			out = append(out, c, payload[i+1])
			i++
			continue
		case c == '"':
			inside = !inside
		case inside && c == '{' && bytes.HasPrefix(payload[i:], []byte("{{")):
			end := bytes.IndexAny(payload[i+2:], "}\"")
			if end < 0 || !bytes.HasPrefix(payload[i+2+end:], []byte("}}")) {
				return nil, fmt.Errorf("the template at byte %d is not closed by }}", i)
			}
			name := strings.TrimSpace(string(payload[i+2 : i+2+end]))
			v, ok := value(name)
			if !ok {
				return nil, fmt.Errorf("{{%s}} is unknown: {{slot}}, {{slotUnix}} and {{schedule.name}} are known", name)
			}
			out = append(out, v...)
			i += 2 + end + 1
			continue
		}
		out = append(out, c)
	}
	return out, nil
}

// quoted is the inside of a JSON string.
func quoted(s string) string {
	q, err := json.Marshal(s)
	if err != nil { // a string always can
		return ""
	}
	return string(q[1 : len(q)-1])
}
