package task

import (
	"crypto/sha256"
	"encoding/binary"
)

// UniqueHash is the stored form of a unique key: one namespace per app, whatever the scope, so that two scopes of one key
// exclude each other. Hashed, a key has no collation and no length (protocol section 3, "Idempotency and unique keys").
func UniqueHash(appID int32, key string) [32]byte { return hashKey('u', appID, key) }

// IdempotencyHash is the stored form of an idempotency key of an app.
func IdempotencyHash(appID int32, key string) [32]byte { return hashKey('i', appID, key) }

func hashKey(domain byte, appID int32, key string) [32]byte {
	buf := make([]byte, 0, 5+255)
	buf = append(buf, domain)
	buf = binary.BigEndian.AppendUint32(buf, uint32(appID))
	return sha256.Sum256(append(buf, key...))
}

// Unique gives the unique key of a task as submitted, nil when it has none. What it does on a conflict is not kept: a
// task that is re-opened takes its key or is refused.
func (h *BodyHead) Unique(appID int32) *Unique {
	if h.UniqueKey == "" {
		return nil
	}
	return &Unique{Key: UniqueHash(appID, h.UniqueKey), Scope: h.UniqueScope, WindowMs: h.UniqueWindowMs}
}
