package cli

import (
	"io"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/term"
)

// terminal is what standard output can do.
type terminal struct {
	is     bool // somebody looks at it; not a pipe, not a file
	width  int  // columns; 0: no bound
	height int  // rows; 0: not known
	colour bool
}

// descriptor gives the descriptor of a stream; *os.File is one. File.Fd is left alone: it may switch deadlines off.
func descriptor(stream any) (int, bool) {
	f, ok := stream.(syscall.Conn)
	if !ok {
		return 0, false
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, false
	}
	fd := -1
	if err := raw.Control(func(d uintptr) { fd = int(d) }); err != nil {
		return 0, false
	}
	return fd, true
}

// isTerminal reports whether a stream is one, and its descriptor.
func isTerminal(stream any) (int, bool) {
	fd, ok := descriptor(stream)
	return fd, ok && term.IsTerminal(fd)
}

// terminal looks at standard output. Colours are for terminals only, and never with NO_COLOR or TERM=dumb.
func (p *program) terminal() terminal {
	if p.screen != nil {
		return *p.screen
	}
	return terminalOf(p.Out, p.Environ)
}

func terminalOf(out io.Writer, environ []string) terminal {
	fd, ok := isTerminal(out)
	if !ok {
		return terminal{}
	}
	t := terminal{is: true, colour: colourful(environ)}
	if w, h, err := term.GetSize(fd); err == nil && w > 0 {
		t.width, t.height = w, h
	}
	return t
}

func colourful(environ []string) bool {
	return variable(environ, "NO_COLOR") == "" && variable(environ, "TERM") != "dumb"
}

// variable gives an environment variable; "" when it is not there. The last one wins.
func variable(environ []string, name string) string {
	for _, kv := range slices.Backward(environ) {
		if k, v, _ := strings.Cut(kv, "="); k == name {
			return v
		}
	}
	return ""
}

// Styles are the parameters of SGR sequences.
const (
	styleBold   = "1"
	styleDim    = "2"
	styleRed    = "31"
	styleGreen  = "32"
	styleYellow = "33"
	styleCyan   = "36"
	styleInvert = "7"
)

// styled wraps a text, which must be clean, in a style.
func styled(text, style string) string {
	if style == "" || text == "" {
		return text
	}
	return "\x1b[" + style + "m" + text + "\x1b[0m"
}

// stateStyle is the colour of a state, an outcome or a level, by its first word.
func stateStyle(text string) string {
	word, _, _ := strings.Cut(text, " ")
	switch strings.TrimRight(word, ",:") {
	case "succeeded", "alive", "active", "done", "fired", "ok", "accepted":
		return styleGreen
	case "failed", "lost", "timed_out", "zombie", "revoked", "disabled":
		return styleRed
	case "paused", "draining", "retrying", "stopping", "blocked", "held":
		return styleYellow
	case "running", "started", "progress":
		return styleCyan
	case "cancelled", "gone", "stopped", "ended", "skipped", "released":
		return styleDim
	}
	return ""
}
