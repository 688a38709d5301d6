package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"golang.org/x/term"
)

// screen is a terminal in full-screen mode. It draws what changed only, line by line, so that nothing flickers, and gives the
// terminal back as it was: close may be called at any time, also twice.
type screen struct {
	out   io.Writer
	keys  keyboard
	fd    int
	saved *term.State // nil while the terminal is as it was

	width, height int
	drawn         []string // what the terminal shows; nil: nothing known
}

// keyboard is the terminal's input.
type keyboard interface {
	io.Reader
	SetReadDeadline(t time.Time) error
}

const (
	screenOn  = "\x1b[?1049h\x1b[?25l\x1b[2J" // the other screen, no cursor, empty
	screenOff = "\x1b[0m\x1b[?25h\x1b[?1049l"
)

var errNoTerminal = errors.New("is no terminal: use --once")

// openScreen takes a terminal. Reading its keys must be possible to interrupt, which standard input is not: it was not opened by us.
// So the controlling terminal is opened anew, if need be.
func openScreen(in io.Reader, out io.Writer) (*screen, func(), error) {
	if _, ok := isTerminal(out); !ok {
		return nil, nil, usage(fmt.Errorf("standard output %w", errNoTerminal))
	}
	if _, ok := isTerminal(in); !ok {
		return nil, nil, usage(fmt.Errorf("standard input %w", errNoTerminal))
	}
	release := func() {}
	keys, ok := in.(keyboard)
	if !ok || keys.SetReadDeadline(time.Time{}) != nil {
		f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
		if err != nil {
			return nil, nil, fmt.Errorf("open the terminal: %w", err)
		}
		keys, release = f, func() { _ = f.Close() }
	}
	s := &screen{out: out, keys: keys}
	if s.fd, ok = descriptor(keys); !ok {
		release()
		return nil, nil, usage(fmt.Errorf("standard input %w", errNoTerminal))
	}
	if err := s.enter(); err != nil {
		release()
		return nil, nil, err
	}
	return s, func() { s.leave(); release() }, nil
}

// enter makes the terminal ours.
func (s *screen) enter() error {
	saved, err := term.MakeRaw(s.fd)
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	s.saved, s.drawn = saved, nil
	s.measure()
	_, err = io.WriteString(s.out, screenOn)
	return err
}

// leave gives the terminal back.
func (s *screen) leave() {
	if s.saved == nil {
		return
	}
	_, _ = io.WriteString(s.out, screenOff)
	_ = term.Restore(s.fd, s.saved)
	s.saved = nil
}

// measure asks for the terminal's size, and reports whether it is another.
func (s *screen) measure() bool {
	w, h, err := term.GetSize(s.fd)
	if err != nil || w < 1 || h < 1 {
		w, h = 80, 24
	}
	changed := w != s.width || h != s.height
	s.width, s.height = w, h
	if changed {
		s.drawn = nil
	}
	return changed
}

// draw shows lines, of which there are as many as the terminal has. Only those that changed are written, in one write.
func (s *screen) draw(lines []string) error {
	var b strings.Builder
	if s.drawn == nil {
		b.WriteString("\x1b[0m\x1b[2J")
		s.drawn = make([]string, len(lines))
	}
	for i, line := range lines {
		if i < len(s.drawn) && s.drawn[i] == line {
			continue
		}
		fmt.Fprintf(&b, "\x1b[%d;1H\x1b[K%s\x1b[0m", i+1, line) // emptied first: behind a full line that would take its last column
	}
	s.drawn = append(s.drawn[:0], lines...)
	if b.Len() == 0 {
		return nil
	}
	_, err := io.WriteString(s.out, b.String())
	return err
}
