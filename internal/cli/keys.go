package cli

import (
	"time"
	"unicode/utf8"
)

// key is what somebody pressed: a character as itself, or a name.
type key string

const (
	keyUp       key = "up"
	keyDown     key = "down"
	keyLeft     key = "left"
	keyRight    key = "right"
	keyPageUp   key = "page up"
	keyPageDown key = "page down"
	keyHome     key = "home"
	keyEnd      key = "end"
	keyTab      key = "tab"
	keyBackTab  key = "back tab"
	keyEnter    key = "enter"
	keyEscape   key = "escape"
	keyStop     key = "ctrl-c"
	keySuspend  key = "ctrl-z"
	keyRedraw   key = "ctrl-l"
)

var controlKeys = map[byte]key{'\t': keyTab, '\r': keyEnter, '\n': keyEnter, 0x03: keyStop, 0x04: keyStop, 0x1a: keySuspend, 0x0c: keyRedraw}

// sequences are what terminals send after ESC for keys that are no characters.
var sequences = map[string]key{
	"[A": keyUp, "[B": keyDown, "[C": keyRight, "[D": keyLeft, "OA": keyUp, "OB": keyDown, "OC": keyRight, "OD": keyLeft,
	"[5~": keyPageUp, "[6~": keyPageDown, "[H": keyHome, "[F": keyEnd, "OH": keyHome, "OF": keyEnd, "[1~": keyHome, "[4~": keyEnd, "[Z": keyBackTab,
}

const longestSequence = 16

// decodeKeys takes the keys out of what a terminal sent; rest is the beginning of one that is not whole yet. A lone ESC is a key
// when nothing follows it; whoever reads says so with last. Sequences that mean nothing here are dropped.
func decodeKeys(in []byte, last bool) (keys []key, rest []byte) {
	for len(in) > 0 {
		k, n := decodeKey(in, last)
		if n == 0 {
			return keys, in
		}
		if k != "" {
			keys = append(keys, k)
		}
		in = in[n:]
	}
	return keys, nil
}

func decodeKey(in []byte, last bool) (key, int) {
	c := in[0]
	switch {
	case c == 0x1b:
		return decodeSequence(in, last)
	case controlKeys[c] != "":
		return controlKeys[c], 1
	case c < ' ' || c == 0x7f:
		return "", 1
	case !utf8.FullRune(in) && !last:
		return "", 0
	}
	r, n := utf8.DecodeRune(in)
	return key(r), n
}

func decodeSequence(in []byte, last bool) (key, int) {
	if len(in) == 1 {
		if last {
			return keyEscape, 1
		}
		return "", 0
	}
	if in[1] != '[' && in[1] != 'O' {
		return keyEscape, 1
	}
	for n := 2; n < len(in) && n < longestSequence; n++ {
		if in[n] >= 0x40 && in[n] <= 0x7e {
			return sequences[string(in[1:n+1])], n + 1
		}
	}
	if last || len(in) >= longestSequence {
		return "", min(len(in), longestSequence)
	}
	return "", 0
}

// readKeys sends keys until reading fails, which a deadline in the past makes it do. A terminal sends a sequence in one piece, so that a
// piece that is a lone ESC is that key.
func readKeys(in keyboard, out chan<- key, done <-chan struct{}) {
	var held []byte
	chunk := make([]byte, 256)
	for {
		n, err := in.Read(chunk)
		held = append(held, chunk[:n]...)
		if err != nil {
			return
		}
		var keys []key
		keys, held = decodeKeys(held, len(held) == 1 && held[0] == 0x1b)
		for _, k := range keys {
			select {
			case out <- k:
			case <-done:
				return
			}
		}
	}
}

// interruptReading makes the pending and every later read fail.
func interruptReading(in keyboard) { _ = in.SetReadDeadline(time.Unix(1, 0)) }
