package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
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

// rawUnless prints the API's JSON unless there is an error.
func (p *program) rawUnless(err error, raw []byte) error {
	if err != nil {
		return err
	}
	return p.printRaw(raw)
}

// printJSON prints one value as one line.
func (p *program) printJSON(v any) error {
	enc := json.NewEncoder(p.Out)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// say prints one line, clean.
func (p *program) say(text string) error {
	_, err := fmt.Fprintln(p.Out, clean(text))
	return err
}

// outcome prints what became of one thing: its name and a text; with --quiet the name alone.
func (p *program) outcome(name, text string) error {
	if p.quiet {
		return p.say(name)
	}
	return p.say(name + " " + text)
}

// note tells people something beside the results.
func (p *program) note(format string, args ...any) {
	if !p.quiet {
		_, _ = fmt.Fprintln(p.Err, clean(fmt.Sprintf(format, args...)))
	}
}

// fields prints names and values below each other; empty values are left out. With --quiet only the first value is printed.
func (p *program) fields(list [][2]string) {
	if p.quiet {
		_ = p.say(list[0][1])
		return
	}
	t := p.terminal()
	for _, f := range list {
		if f[1] == "" {
			continue
		}
		text := clean(f[1])
		if t.colour && (f[0] == "state" || f[0] == "error") {
			style := stateStyle(f[1])
			if f[0] == "error" {
				style = styleRed
			}
			text = styled(text, style)
		}
		_, _ = fmt.Fprintf(p.Out, "%-12s %s\n", f[0]+":", text)
	}
}

// section prints an empty line and a table below fields; with --quiet nothing.
func (p *program) section(header string, rows [][]string) error {
	if p.quiet || len(rows) == 0 {
		return nil
	}
	if _, err := fmt.Fprintln(p.Out); err != nil {
		return err
	}
	return p.table(header, rows)
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
