package task

import "strings"

// The platform's own work runs as tasks of an app of its own, so that it can be seen, paused and triggered like any other, and
// is in nobody else's lists and figures.
const (
	// SystemApp is the key of that app.
	SystemApp = "system"
	// SystemQueue is the queue of its tasks. Every worker serves it, whatever queues it is told to serve.
	SystemQueue = "_system"
	// SystemKind begins the names of its kinds, which no other app may use.
	SystemKind = "system."
)

// IsSystemKind reports whether only the system app may use a kind.
func IsSystemKind(kind string) bool { return strings.HasPrefix(kind, SystemKind) }
