package sqldb

import (
	"encoding/base64"
	"encoding/binary"

	"github.com/taskweir/taskweir/internal/task"
)

// listMode says which index a list walks; it is the first byte of its cursors.
type listMode byte

// The modes.
const (
	byID      listMode = 'i' // tasks or a table of ids, newest first
	byDue     listMode = 'd' // bells in due order
	byRunning listMode = 'r' // claims

	schedulesByID listMode = 's' // schedules, newest first
	slotsByTime   listMode = 'l' // slots of a schedule, newest slot first

	trailByTime listMode = 't' // entries of the audit trail, newest first
	bulkByID    listMode = 'b' // bulk operations, newest first
)

// cursor is a position in a list. It is opaque to clients, but not secret: it can only skip tasks of a list that the
// caller may read anyway.
type cursor struct {
	mode listMode
	id   int64 // byID, byRunning, schedulesByID, bulkByID, trailByTime (within due): the next ones have smaller ids. byDue: within bell, larger ids. slotsByTime: within due, smaller origins
	due  int64 // byDue, slotsByTime, trailByTime
	bell int64
}

// long reports whether cursors of the mode hold more than an id.
func (m listMode) long() bool { return m == byDue || m == slotsByTime || m == trailByTime }

func (c cursor) encode() string {
	b := []byte{1, byte(c.mode)}
	b = binary.AppendVarint(b, c.id)
	if c.mode.long() {
		b = binary.AppendVarint(b, c.due)
		b = binary.AppendVarint(b, c.bell)
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor reads a cursor of a mode. An empty one is the beginning, ok is false.
func decodeCursor(text string, mode listMode) (c cursor, ok bool, err error) {
	if text == "" {
		return cursor{mode: mode}, false, nil
	}
	bad := &task.Error{Kind: task.Malformed, Code: "malformed", Message: "cursor: not a cursor of this list",
		Fields: []task.FieldError{{Field: "cursor", Rule: "pattern", Message: "is not a cursor of this list"}}}
	if len(text) > 64 {
		return c, false, bad
	}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 3 || b[0] != 1 || listMode(b[1]) != mode {
		return c, false, bad
	}
	c.mode, b = mode, b[2:]
	fields := []*int64{&c.id}
	if mode.long() {
		fields = append(fields, &c.due, &c.bell)
	}
	for _, f := range fields {
		v, n := binary.Varint(b)
		if n <= 0 || v < 0 {
			return c, false, bad
		}
		*f, b = v, b[n:]
	}
	if len(b) != 0 {
		return c, false, bad
	}
	return c, true, nil
}
