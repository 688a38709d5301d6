package message

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/taskweir/taskweir/internal/task"
)

// Decode reads a message. verified reports whether its signature is right: only then Items are given, and their bodies
// alias msg. Errors are ErrVersion and ErrMalformed (wrapped); an unverified message whose head cannot be read is
// malformed too.
func (c *Codec) Decode(msg []byte) (r task.Rung, verified bool, err error) {
	if len(msg) == 0 || len(msg) > MaxSize {
		return r, false, fmt.Errorf("%w: %d bytes", ErrMalformed, len(msg))
	}
	if msg[0] != version {
		return r, false, fmt.Errorf("%w %d", ErrVersion, msg[0])
	}
	if len(msg) < 1+macSize {
		return r, false, fmt.Errorf("%w: %d bytes", ErrMalformed, len(msg))
	}
	signed, mac := msg[:len(msg)-macSize], msg[len(msg)-macSize:]
	verified = c.verify(signed, mac)
	rd := reader{b: signed[1:]}
	head(&rd, &r)
	if verified {
		items(&rd, &r)
		if len(rd.b) != 0 {
			rd.bad = true
		}
	}
	if rd.bad {
		return task.Rung{}, false, fmt.Errorf("%w: truncated, out of range or trailing bytes", ErrMalformed)
	}
	return r, verified, nil
}

func head(rd *reader, r *task.Rung) {
	r.ID = rd.id()
	r.Epoch = rd.int32()
	r.LaneID = rd.int32()
	r.AppID = rd.int32()
	r.DueAt = rd.z()
	n := rd.count(1)
	if n == 0 {
		return
	}
	r.TaskIDs = make([]int64, n)
	prev := int64(0)
	for i := range r.TaskIDs {
		prev += rd.z()
		r.TaskIDs[i] = prev
	}
}

func items(rd *reader, r *task.Rung) {
	m := rd.count(9)
	if m == 0 {
		return
	}
	r.Items = make([]task.Item, m)
	for i := range r.Items {
		it := &r.Items[i]
		it.ID = base(r.TaskIDs, i) + rd.z()
		it.KindID = rd.int32()
		it.TimeoutMs = int32(rd.within(math.MinInt32, math.MaxInt32))
		it.Flags = task.Flags(rd.upTo(math.MaxUint32))
		it.Failures = int16(rd.within(math.MinInt16, math.MaxInt16))
		it.Losses = int16(rd.within(math.MinInt16, math.MaxInt16))
		it.CreatedAt = r.DueAt + rd.z()
		it.ExpiresAt = rd.id()
		it.Body = rd.body()
	}
}

// reader takes values from the front of b. After the first fault bad is set and everything reads as 0.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() uint64 {
	r.bad, r.b = true, nil
	return 0
}

func (r *reader) u() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		return r.fail()
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) z() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		return int64(r.fail())
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) upTo(most uint64) uint64 {
	if v := r.u(); v <= most {
		return v
	}
	return r.fail()
}

func (r *reader) within(least, most int64) int64 {
	if v := r.z(); v >= least && v <= most {
		return v
	}
	return int64(r.fail())
}

func (r *reader) id() int64    { return int64(r.upTo(math.MaxInt64)) }
func (r *reader) int32() int32 { return int32(r.upTo(math.MaxInt32)) }

// count is a length of a list whose entries have at least width bytes: a lying length cannot make a large allocation.
func (r *reader) count(width int) int {
	n := r.upTo(maxTasks)
	if n > uint64(len(r.b)/width) {
		return int(r.fail())
	}
	return int(n)
}

func (r *reader) body() []byte {
	n := r.upTo(task.MaxInlineBody + 1)
	if n == 0 {
		return nil
	}
	if n--; n > uint64(len(r.b)) {
		r.fail()
		return nil
	}
	body := r.b[:n:n]
	r.b = r.b[n:]
	return body
}
