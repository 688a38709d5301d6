package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// outputFormat is table or json.
type outputFormat string

// String gives the format; table unless set.
func (f *outputFormat) String() string {
	if *f == "" {
		return "table"
	}
	return string(*f)
}

// Set implements pflag.Value.
func (f *outputFormat) Set(text string) error {
	if text != "table" && text != "json" {
		return fmt.Errorf("must be table or json")
	}
	*f = outputFormat(text)
	return nil
}

// Type implements pflag.Value.
func (f *outputFormat) Type() string { return "format" }

func (p *program) json() bool { return p.format == "json" }

// printRaw prints the API's own JSON.
func (p *program) printRaw(raw []byte) error {
	_, err := p.Out.Write(append(bytes.TrimRight(raw, "\n"), '\n'))
	return err
}

// printJSON prints one value as one line.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header.
func (p *program) table(header string, rows [][]string) error {
	w := tabwriter.NewWriter(p.Out, 0, 8, 2, ' ', 0)
	lines := append([][]string{strings.Fields(header)}, rows...)
	for _, cells := range lines {
		for i, cell := range cells {
			if i > 0 {
				_, _ = io.WriteString(w, "\t")
			}
			_, _ = io.WriteString(w, printable(cell))
		}
		_, _ = io.WriteString(w, "\n")
	}
	return w.Flush()
}

// printable keeps a cell on its line and control characters off the terminal.
func printable(cell string) string {
	if cell == "" {
		return "-"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, cell)
}

// shorten cuts a text for a table.
func shorten(text string, most int) string {
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most-1]) + "…"
	}
	return text
}

// local is an instant as a person reads it, in the machine's zone, with milliseconds.
func local(t apiv1.Time) string {
	if t == 0 {
		return ""
	}
	return t.Time().Local().Format("2006-01-02 15:04:05.000")
}

// span is the time between two instants.
func span(from, to apiv1.Time) string {
	if from == 0 || to == 0 {
		return ""
	}
	return milliseconds(int64(to - from))
}

// milliseconds reads like 12ms, 1.234s, 3m20s, 5h0m0s, 12d4h.
func milliseconds(ms int64) string {
	d := time.Duration(ms) * time.Millisecond
	switch {
	case d >= 48*time.Hour:
		return fmt.Sprintf("%dd%dh", d/(24*time.Hour), d%(24*time.Hour)/time.Hour)
	case d >= time.Minute:
		return d.Round(time.Second).String()
	}
	return d.String()
}

// count shows a bounded count.
func count(c apiv1.Count) string {
	if c.AtLeast {
		return fmt.Sprintf("≥%d", c.Value)
	}
	return fmt.Sprint(c.Value)
}
