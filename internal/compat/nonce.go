package compat

import (
	"context"
	"strings"
	"time"
)

// Window is how far a request's time may be from the server's, in either direction.
const Window = 300 * time.Second

// NonceLife is how long a nonce stays used: as long as a request with it could be in the window, from one that is ahead of time to one
// that is late, and a little more, because the clocks of the database and of Redis are two.
//
// The window is to be looked at again after a nonce was used up. A request whose body comes slowly could otherwise be in the
// window when its headers came and be taken when the nonce of its first sending is forgotten.
const NonceLife = 2*Window + time.Second

// Nonces remembers which nonces of an app were used (internal/rdb). Burn reports whether one was fresh, and uses it up.
type Nonces interface {
	Burn(ctx context.Context, app int32, nonce string, life time.Duration) (fresh bool)
}

// InWindow reports whether an instant is within the window around now, both in ms.
func InWindow(ms, now int64) bool {
	d := ms - now
	return d <= Window.Milliseconds() && d >= -Window.Milliseconds()
}

// NonceID is what a nonce is known by: see the package's document, "What is signed twice".
func NonceID(nonce string) string {
	id, _, _ := strings.Cut(nonce, "&")
	return id
}
