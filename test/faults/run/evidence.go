package run

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/taskweir/taskweir/test/faults/history"
)

// begins are lines that the Go runtime and the race detector write themselves; contains are messages, our own and
// net/http's, about a panic that somebody has recovered from.
var (
	begins   = []string{"WARNING: DATA RACE", "panic: ", "fatal error: ", "unexpected fault address"}
	contains = []string{"handler panicked", "a stream panicked", "panic serving", "panic in a transaction"}
)

// alarming reports whether a line must not be in any log.
func alarming(line string) bool {
	return slices.ContainsFunc(begins, func(a string) bool { return strings.HasPrefix(line, a) }) ||
		slices.ContainsFunc(contains, func(a string) bool { return strings.Contains(line, a) })
}

// Alarms finds lines that must not be in any log: panics, recovered from or not, fatal errors, and reports of the race detector.
func Alarms(logs []string) (found []string) {
	for _, path := range logs {
		f, err := os.Open(path)
		if err != nil {
			found = append(found, fmt.Sprintf("a log cannot be read: %v", err))
			continue
		}
		lines := bufio.NewReader(f)
		for n := 1; ; n++ {
			line, err := lines.ReadString('\n')
			if alarming(line) {
				found = append(found, fmt.Sprintf("%s:%d: %s", filepath.Base(path), n, strings.TrimSpace(line)))
			}
			if err != nil {
				break
			}
		}
		_ = f.Close() // it was only read
	}
	return found
}

// keep writes logs, history, results and what is wrong into the folder for evidence.
func (r *run) keep(h *history.History) error {
	dir := filepath.Join(r.Evidence, r.Name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, path := range r.c.Logs() {
		if err := copyFile(filepath.Join(dir, filepath.Base(path)), path); err != nil {
			return err
		}
	}
	for name, v := range map[string]any{"history.json": h, "results.json": r.out.Results, "report.json": r.out.Report} {
		if err := writeJSON(filepath.Join(dir, name), v); err != nil {
			return err
		}
	}
	text := strings.Join(r.out.Broken, "\n") + "\n"
	if r.out.Report != nil {
		text += r.out.Report.Summary(1000)
	}
	fmt.Fprintf(r.Log, "%s evidence: %s\n", r.Name, dir)
	return os.WriteFile(filepath.Join(dir, "broken.txt"), []byte(text), 0o644)
}

func copyFile(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		_ = out.Close()
		return err
	}
	return out.Close()
}

func writeJSON(path string, v any) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := json.NewEncoder(f).Encode(v); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}
