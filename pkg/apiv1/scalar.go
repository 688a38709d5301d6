package apiv1

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// ID is the id of a task, attempt, worker or key: an integer below 2^53, a string on the wire. 0 is written as null.
type ID int64

// ParseID reads a decimal id, 1 … 2^53-1.
func ParseID(s string) (ID, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n >= 1<<53 || s[0] == '+' {
		return 0, fmt.Errorf("%q is not an id", s)
	}
	return ID(n), nil
}

// String is the id in decimal.
func (id ID) String() string { return strconv.FormatInt(int64(id), 10) }

func (id ID) appendJSON(b []byte) []byte {
	if id == 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = strconv.AppendInt(b, int64(id), 10)
	return append(b, '"')
}

// MarshalJSON writes a string, or null for 0.
func (id ID) MarshalJSON() ([]byte, error) { return id.appendJSON(nil), nil }

// UnmarshalJSON reads a string, a number or null.
func (id *ID) UnmarshalJSON(raw []byte) error {
	s := string(raw)
	if s == "null" {
		*id = 0
		return nil
	}
	if len(s) > 1 && s[0] == '"' {
		s = s[1 : len(s)-1]
	}
	v, err := ParseID(s)
	*id = v
	return err
}

// Time is an instant in milliseconds since 1970 UTC; RFC 3339 on the wire. 0 is written as null.
type Time int64

// timeLayout is RFC 3339 with milliseconds.
const timeLayout = "2006-01-02T15:04:05.000Z"

// TimeOf is t as the wire has it; what is finer than a millisecond is rounded up, as in UnmarshalJSON. The zero time is 0.
func TimeOf(t time.Time) Time {
	if t.IsZero() {
		return 0
	}
	return rounded(t)
}

func rounded(t time.Time) Time {
	ms := t.UnixMilli()
	if t.Nanosecond()%int(time.Millisecond) != 0 {
		ms++
	}
	return Time(ms)
}

// Time is t as a time.Time in UTC.
func (t Time) Time() time.Time { return time.UnixMilli(int64(t)).UTC() }

// String is t as on the wire.
func (t Time) String() string { return t.Time().Format(timeLayout) }

func (t Time) appendJSON(b []byte) []byte {
	if t == 0 {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.Time().AppendFormat(b, timeLayout)
	return append(b, '"')
}

// MarshalJSON writes RFC 3339, or null for 0.
func (t Time) MarshalJSON() ([]byte, error) { return t.appendJSON(nil), nil }

// UnmarshalJSON reads RFC 3339 with a zone, or null. What is finer than a millisecond is rounded up, so that a time that
// something must not precede is never moved forward.
func (t *Time) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		*t = 0
		return nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return err
	}
	v, err := ParseTime(s)
	*t = v
	return err
}

// ParseTime reads RFC 3339 with a zone; see UnmarshalJSON for rounding. What is in no year from 0 to 9999 in UTC is refused:
// String could not write it.
func ParseTime(s string) (Time, error) {
	at, err := time.Parse(time.RFC3339Nano, s)
	t := rounded(at)
	if year := t.Time().Year(); err != nil || year < 0 || year > 9999 {
		return 0, fmt.Errorf("%q is not a time like 2030-01-02T15:04:05.000Z", s)
	}
	return t, nil
}
