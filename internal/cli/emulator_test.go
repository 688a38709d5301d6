package cli

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// emulator is as much of a terminal as the live screen uses. What it does not know fails the test that looks at it.
type emulator struct {
	width, height int
	cells         [][]rune
	row, col      int
	held          []byte
	other, hidden bool // the other screen is shown; the cursor is hidden
	unknown       []string
}

func newEmulator(width, height int) *emulator {
	e := &emulator{}
	e.resize(width, height)
	return e
}

func (e *emulator) resize(width, height int) {
	old := e.cells
	e.width, e.height, e.cells = width, height, make([][]rune, height)
	for i := range e.cells {
		e.cells[i] = []rune(strings.Repeat(" ", width))
		if i < len(old) {
			copy(e.cells[i], old[i])
		}
	}
	e.row, e.col = min(e.row, height-1), min(e.col, width-1)
}

func (e *emulator) text() string {
	var lines []string
	for _, l := range e.cells {
		lines = append(lines, strings.TrimRight(string(l), " \x00"))
	}
	return strings.Join(lines, "\n")
}

func (e *emulator) write(b []byte) {
	e.held = append(e.held, b...)
	for len(e.held) > 0 {
		n := e.step(e.held)
		if n == 0 {
			return
		}
		e.held = e.held[n:]
	}
}

// step takes one character or sequence; 0: it is not whole.
func (e *emulator) step(b []byte) int {
	if b[0] == 0x1b {
		if len(b) < 2 {
			return 0
		}
		if b[1] != '[' {
			e.unknown = append(e.unknown, fmt.Sprintf("%q", b[:2]))
			return 2
		}
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				e.sequence(string(b[2:i]), b[i])
				return i + 1
			}
		}
		return 0
	}
	switch b[0] {
	case '\r':
		e.col = 0
		return 1
	case '\n':
		e.row = min(e.row+1, e.height-1)
		return 1
	}
	if !utf8.FullRune(b) {
		return 0
	}
	r, n := utf8.DecodeRune(b)
	if r < ' ' || r == 0x7f {
		e.unknown = append(e.unknown, fmt.Sprintf("%q", r))
		return n
	}
	w := runeColumns(r)
	if e.col+w > e.width {
		e.unknown = append(e.unknown, fmt.Sprintf("%q beyond the right edge of line %d", r, e.row+1))
		return n
	}
	if w > 0 {
		e.cells[e.row][e.col] = r
	}
	if w == 2 {
		e.cells[e.row][e.col+1] = 0
	}
	e.col += w
	return n
}

func (e *emulator) sequence(args string, final byte) {
	switch {
	case final == 'm':
	case final == 'H' && args == "":
		e.row, e.col = 0, 0
	case final == 'H':
		row, col, _ := strings.Cut(args, ";")
		r, err1 := strconv.Atoi(row)
		c, err2 := strconv.Atoi(col)
		if err1 != nil || err2 != nil || r > e.height || c > e.width {
			e.unknown = append(e.unknown, "position "+args)
			return
		}
		e.row, e.col = r-1, c-1
	case final == 'K' && args == "" && e.col == e.width:
		e.unknown = append(e.unknown, "erasing behind a full line takes its last column on some terminals")
	case final == 'K' && args == "":
		for i := e.col; i < e.width; i++ {
			e.cells[e.row][i] = ' '
		}
	case final == 'J' && (args == "" || args == "2"):
		from := 0
		if args == "" {
			from = e.row + 1
		}
		for i := from; i < e.height; i++ {
			e.cells[i] = []rune(strings.Repeat(" ", e.width))
		}
	case args == "?1049" && final == 'h':
		e.other = true
	case args == "?1049" && final == 'l':
		e.other = false
	case args == "?25" && final == 'l':
		e.hidden = true
	case args == "?25" && final == 'h':
		e.hidden = false
	default:
		e.unknown = append(e.unknown, args+string(final))
	}
}

// What is drawn over what was drawn is what should be shown, whatever that was.
func TestDrawingByDifferenceShowsTheWhole(t *testing.T) {
	var out strings.Builder
	s := &screen{out: &out}
	e := newEmulator(12, 3)
	for i, lines := range [][]string{
		{"one", "two", "three"}, {"one", "TWO", "three"}, {"", "a longer one", "界界"}, {"\x1b[31mred\x1b[0m", "", "x"}, {"\x1b[31mred\x1b[0m", "", "x"},
	} {
		out.Reset()
		if err := s.draw(lines); err != nil {
			t.Fatal(err)
		}
		if i == 4 && out.Len() > 0 {
			t.Errorf("nothing changed, %q was written", out.String())
		}
		if i == 1 && strings.Contains(out.String(), "three") {
			t.Errorf("a line that did not change was written: %q", out.String())
		}
		e.write([]byte(out.String()))
		want := strings.NewReplacer("\x1b[31m", "", "\x1b[0m", "", "界界", "界\x00界").Replace(strings.Join(lines, "\n"))
		if got := e.text(); got != want {
			t.Errorf("step %d shows\n%q, want\n%q", i, got, want)
		}
	}
	if len(e.unknown) > 0 {
		t.Errorf("not known: %q", e.unknown)
	}
}
