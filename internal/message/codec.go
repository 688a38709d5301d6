// Package message is the wire form of a rung bell: what stands in one NSQ message.
//
// A message says "bell B is due". It is a hint: the database decides whether the bell is still there and which of its
// tasks still wait. What makes it worth more than an id are the items: with them a worker that claims the bell needs no
// further read. Because anybody who reaches nsqd can publish, items are used only when the signature verifies; the ids
// are given even without, as they are harmless (every statement that uses them is guarded).
//
// # Layout, version 1
//
// All integers are varints (u: unsigned, z: zig-zag).
//
//	byte    version = 1
//	u       bell id
//	u       epoch
//	u       lane id
//	u       app id
//	z       due, ms
//	u       n, number of task ids (≤ 1,000)
//	n × z   task ids, each minus the one before (the first minus 0)
//	u       m, number of items (≤ 1,000)
//	m ×     z  id minus the task id at the same position (minus 0 beyond the list)
//	        u  kind id
//	        z  timeout, ms (-1: none)
//	        u  flags
//	        z  failures
//	        z  losses
//	        z  created, ms, minus due
//	        u  expires, ms (0: never)
//	        u  length of the body + 1; 0: the body did not travel
//	        …  body
//	32 B    HMAC-SHA256 over everything before
//
// The version is raised when a byte of this changes its meaning; a golden test holds the layout. Bell.Kind (only start
// bells are published) and Bell.Direct (a matter between writers) do not travel.
package message

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"sync"

	"github.com/taskweir/taskweir/internal/task"
)

// MaxSize bounds one message, in bytes. Bodies that do not fit are left out from the end.
const MaxSize = 256 << 10

const (
	version    = 1
	macSize    = sha256.Size
	maxTasks   = 1_000 // of ids and of items; bells hold task.MaxBellTasks
	maxHead    = 1 + 6*binary.MaxVarintLen64
	maxItem    = 9 * binary.MaxVarintLen64
	keyPurpose = "taskweir bell message v1"
)

var (
	// ErrMalformed: these bytes are not a message. Asking again cannot help.
	ErrMalformed = errors.New("message: malformed")
	// ErrVersion: a version that this build does not know, written by a newer one. Another worker may know it.
	ErrVersion = errors.New("message: unknown version")
	// ErrTooMany: the bell lists more tasks than a message can name.
	ErrTooMany = errors.New("message: more than 1000 tasks in one bell")
)

// Codec encodes, signs, verifies and decodes. Safe for concurrent use.
type Codec struct {
	macs sync.Pool // of hash.Hash, keyed
}

// New derives the signing key from the cluster key, which every process of an installation shares. The derivation (HKDF
// with a purpose) keeps this key apart from others that are made of the same secret.
func New(clusterKey []byte) (*Codec, error) {
	if len(clusterKey) == 0 {
		return nil, errors.New("message: empty cluster key")
	}
	key, err := hkdf.Key(sha256.New, clusterKey, nil, keyPurpose, sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("message: derive key: %w", err)
	}
	return &Codec{macs: sync.Pool{New: func() any { return hmac.New(sha256.New, key) }}}, nil
}

// sign appends the signature of b to b.
func (c *Codec) sign(b []byte) []byte {
	h := c.macs.Get().(hash.Hash)
	defer c.macs.Put(h)
	h.Reset()
	h.Write(b)
	return h.Sum(b)
}

// verify reports whether mac signs b.
func (c *Codec) verify(b, mac []byte) bool {
	h := c.macs.Get().(hash.Hash)
	defer c.macs.Put(h)
	h.Reset()
	h.Write(b)
	var sum [macSize]byte
	return hmac.Equal(h.Sum(sum[:0]), mac)
}

// Encode gives the signed message of a bell. lane must be the bell's. The result is at most MaxSize; bodies larger than
// task.MaxInlineBody are left out, and from the first one that does not fit on all of them.
func (c *Codec) Encode(lane task.Lane, r task.Rung) ([]byte, error) {
	if len(r.TaskIDs) > maxTasks || len(r.Items) > maxTasks {
		return nil, fmt.Errorf("%w (bell %d: %d)", ErrTooMany, r.ID, max(len(r.TaskIDs), len(r.Items)))
	}
	bound := maxHead + len(r.TaskIDs)*binary.MaxVarintLen64 + len(r.Items)*maxItem + macSize
	bodies, whole := 0, 0
	for whole < len(r.Items) {
		n := len(r.Items[whole].Body)
		if n > task.MaxInlineBody {
			n = 0
		}
		if bound+bodies+n > MaxSize {
			break
		}
		bodies += n
		whole++
	}
	b := make([]byte, 0, bound+bodies)
	b = append(b, version)
	b = binary.AppendUvarint(b, uint64(r.ID))
	b = binary.AppendUvarint(b, uint64(uint32(r.Epoch)))
	b = binary.AppendUvarint(b, uint64(uint32(lane.ID)))
	b = binary.AppendUvarint(b, uint64(uint32(r.AppID)))
	b = binary.AppendVarint(b, r.DueAt)
	b = binary.AppendUvarint(b, uint64(len(r.TaskIDs)))
	prev := int64(0)
	for _, id := range r.TaskIDs {
		b = binary.AppendVarint(b, id-prev)
		prev = id
	}
	b = binary.AppendUvarint(b, uint64(len(r.Items)))
	for i := range r.Items {
		b = appendItem(b, &r.Items[i], base(r.TaskIDs, i), r.DueAt, i < whole)
	}
	return c.sign(b), nil
}

// base is what the id of item i is told against.
func base(ids []int64, i int) int64 {
	if i < len(ids) {
		return ids[i]
	}
	return 0
}

func appendItem(b []byte, it *task.Item, base, due int64, withBody bool) []byte {
	b = binary.AppendVarint(b, it.ID-base)
	b = binary.AppendUvarint(b, uint64(uint32(it.KindID)))
	b = binary.AppendVarint(b, int64(it.TimeoutMs))
	b = binary.AppendUvarint(b, uint64(it.Flags))
	b = binary.AppendVarint(b, int64(it.Failures))
	b = binary.AppendVarint(b, int64(it.Losses))
	b = binary.AppendVarint(b, it.CreatedAt-due)
	b = binary.AppendUvarint(b, uint64(it.ExpiresAt))
	if it.Body == nil || !withBody || len(it.Body) > task.MaxInlineBody {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(it.Body))+1)
	return append(b, it.Body...)
}
