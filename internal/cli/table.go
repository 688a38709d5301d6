package cli

import (
	"slices"
	"strings"
)

const tableGap = 2 // blanks between columns

// wholeColumns are never cut: what people copy, and what is short anyway.
var wholeColumns = []string{"ID", "TASK", "ATTEMPT", "STATE", "SCHEDULE", "APP"}

// stateColumns are coloured by what they say.
var stateColumns = []string{"STATE", "OUTCOME", "TYPE"}

// table prints rows under a header. On a terminal it is cut to the terminal's width, widest columns first. With --quiet only
// the first column is printed, which identifies the row.
func (p *program) table(header string, rows [][]string) error {
	if p.quiet {
		for _, r := range rows {
			if err := p.say(r[0]); err != nil {
				return err
			}
		}
		return nil
	}
	_, err := p.Out.Write([]byte(renderTable(strings.Fields(header), rows, p.terminal())))
	return err
}

// renderTable lays a table out.
func renderTable(header []string, rows [][]string, t terminal) string {
	lines := [][]string{header}
	for _, row := range rows {
		cells := make([]string, len(header))
		for i := range cells {
			cells[i] = printable(row[i])
		}
		lines = append(lines, cells)
	}
	widths := tableWidths(header, lines, t.width)
	var b strings.Builder
	for n, cells := range lines {
		for i, cell := range cells {
			text := fit(cell, widths[i])
			fill := strings.Repeat(" ", max(0, widths[i]-columns(text)))
			if t.colour {
				text = styled(text, cellStyle(n == 0, header[i], cell))
			}
			b.WriteString(text)
			if i < len(cells)-1 {
				b.WriteString(fill + strings.Repeat(" ", tableGap))
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func cellStyle(head bool, column, cell string) string {
	switch {
	case head:
		return styleBold
	case slices.Contains(stateColumns, column):
		return stateStyle(cell)
	}
	return ""
}

// tableWidths gives every column what it needs, or less when the terminal is narrower.
func tableWidths(header []string, lines [][]string, most int) []int {
	widths := make([]int, len(header))
	total := tableGap * (len(header) - 1)
	for i := range widths {
		for _, cells := range lines {
			widths[i] = max(widths[i], columns(cells[i]))
		}
		total += widths[i]
	}
	for _, least := range []int{8, 3} { // columns are not cut below this, unless there is no other way
		for most > 0 && total > most {
			widest := -1
			for i, w := range widths {
				if w > leastWidth(header[i], i, least) && (widest < 0 || w >= widths[widest]) {
					widest = i
				}
			}
			if widest < 0 {
				break
			}
			widths[widest]--
			total--
		}
	}
	return widths
}

// leastWidth is how far a column may be cut: one that is never cut not at all, the first, which names the row, but little.
func leastWidth(header string, i, least int) int {
	switch {
	case slices.Contains(wholeColumns, header):
		return 1 << 20
	case i == 0:
		return 3 * least
	}
	return least
}
