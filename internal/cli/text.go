package cli

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// clean keeps a text on its line and control characters off the terminal: names, errors and payloads come from strangers. What
// would steer a terminal (C0, DEL, C1) and what would turn the order of characters around or hide them (bidirectional and
// zero-width formatting) becomes a blank.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == utf8.RuneError || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return ' '
		}
		return r
	}, text)
}

// printable is clean for a cell: an empty one is a dash, so that columns stay countable.
func printable(cell string) string {
	if cell == "" {
		return "-"
	}
	return clean(cell)
}

// printableLines is clean for a text of many lines; tabs become blanks.
func printableLines(text string) string {
	lines := strings.Split(strings.ReplaceAll(text, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = clean(strings.ReplaceAll(line, "\t", "    "))
	}
	return strings.Join(lines, "\n")
}

// shorten cuts a text for a table, by characters.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// columns is how many columns of a terminal a text takes: East Asian wide characters and emoji take two, marks that combine
// with the character before them none.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += runeColumns(r)
	}
	return n
}

func runeColumns(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0x303e, r >= 0x3041 && r <= 0x33ff, r >= 0x3400 && r <= 0x4dbf, r >= 0x4e00 && r <= 0x9fff,
		r >= 0xa000 && r <= 0xa4cf, r >= 0xa960 && r <= 0xa97f, r >= 0xac00 && r <= 0xd7a3, r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f,
		r >= 0xff00 && r <= 0xff60, r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// fit cuts a clean text to a number of columns.
func fit(text string, width int) string {
	if width < 1 {
		return ""
	}
	if columns(text) <= width {
		return text
	}
	n := 0
	for i, r := range text {
		if n += runeColumns(r); n > width-1 {
			return text[:i] + "…"
		}
	}
	return text
}

// pad fills a text with blanks to a number of columns, and cuts what is longer.
func pad(text string, width int) string {
	text = fit(text, width)
	return text + strings.Repeat(" ", max(0, width-columns(text)))
}

// fitStyled is fit for a text that may hold styles, which take no columns.
func fitStyled(text string, width int) string {
	if !strings.Contains(text, "\x1b") {
		return fit(text, width)
	}
	var b strings.Builder
	n, cut := 0, false
	for len(text) > 0 {
		if text[0] == 0x1b {
			end := strings.IndexByte(text, 'm') + 1
			if end == 0 {
				break
			}
			b.WriteString(text[:end])
			text = text[end:]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		if n += runeColumns(r); n <= width && !cut {
			b.WriteRune(r)
		} else {
			cut = true // styles still end
		}
		text = text[size:]
	}
	return b.String()
}
