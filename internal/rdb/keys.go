package rdb

import (
	"crypto/sha256"
	"encoding/hex"
	"strconv"
)

// Every key stands in this file. What stands in braces is the part that Redis Cluster hashes: keys that one script
// touches share it. Nothing a client sends becomes part of a key unhashed.

const prefix = "taskweir:"

// liveKey is the hash of what a worker runs: task id to entry as JSON. Ends 15 s after it was last refreshed.
func liveKey(workerID int64) string {
	return prefix + "{worker:" + strconv.FormatInt(workerID, 10) + "}:live"
}

// reportsKey is the hash of what a worker's tasks reported last: task id to report as JSON. Ends like the live view.
func reportsKey(workerID int64) string {
	return prefix + "{worker:" + strconv.FormatInt(workerID, 10) + "}:reports"
}

// signalChannel is the channel a worker listens on.
func signalChannel(workerID int64) string {
	return prefix + "{worker:" + strconv.FormatInt(workerID, 10) + "}:signal"
}

// replyKey holds a worker's answer to one look. Ends 5 s after it was given. The token comes from a signal, so that anybody
// who can publish may have chosen it: it is hashed like all that others say.
func replyKey(workerID int64, token string) string {
	sum := sha256.Sum256([]byte(token))
	return prefix + "{worker:" + strconv.FormatInt(workerID, 10) + "}:reply:" + hex.EncodeToString(sum[:16])
}

// witnessKey says that a scheduler reached the database. Ends 6 s after it was last said.
func witnessKey() string { return prefix + "{witness}:database" }

// nonceKey says that an app used a nonce.
func nonceKey(app int32, nonce string) string {
	sum := sha256.Sum256([]byte(nonce))
	return prefix + "{nonce:" + strconv.FormatInt(int64(app), 10) + ":" + hex.EncodeToString(sum[:16]) + "}"
}

// audienceKey says that somebody listens to events, and names the stream's generation. Ends ten and a half minutes after the last
// listener said so.
func audienceKey() string { return prefix + "{events}:audience" }

// youngKey is there while writers may not know of the audience yet.
func youngKey() string { return prefix + "{events}:young" }

// eventsKey is the stream of events. Ends when nothing was written for that long.
func eventsKey() string { return prefix + "{events}:stream" }

// ticketKey holds what a ticket is good for, until it is used or a minute old. A ticket is a secret: its hash is the key.
func ticketKey(ticket string) string {
	sum := sha256.Sum256([]byte(ticket))
	return prefix + "{ticket:" + hex.EncodeToString(sum[:]) + "}"
}
