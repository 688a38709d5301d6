package cli

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/taskweir/taskweir/internal/config"
	"github.com/taskweir/taskweir/internal/doctor"
)

var update = flag.Bool("update", false, "write what the commands of docs/ print, and the reference, into the pages")

var (
	consoleBlock = regexp.MustCompile("(?s)```console\n(.*?)```")
	shellBlock   = regexp.MustCompile("(?s)```sh\n(.*?)```")
	trailing     = regexp.MustCompile(`(?m) +$`)
	instants     = regexp.MustCompile(`\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d{3}`)
	sinceDue     = regexp.MustCompile(`(?m)\b\d+ms {3,}`) // in a column
	appID        = regexp.MustCompile(`(?m)^(app: +)\w+$`)
)

// steady makes an output the same in every run: the page's times, ages and ids of apps are examples.
func steady(text string) string {
	text = instants.ReplaceAllString(trailing.ReplaceAllString(text, ""), "2030-01-02 15:04:05.000")
	text = sinceDue.ReplaceAllStringFunc(text, func(age string) string { return fmt.Sprintf("%-*s", len(age), "12ms") })
	return appID.ReplaceAllString(text, "${1}0123456789abcdef")
}

// documented runs every command of a page's console blocks against the real API: it prints what the page says.
func documented(t *testing.T, page string, least int, prints func(string) string) {
	t.Helper()
	raw, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	url, ran := realAPI(t), 0
	text := consoleBlock.ReplaceAllStringFunc(string(raw), func(b string) string {
		out := "```console\n"
		for part := range strings.SplitSeq(strings.TrimSuffix(strings.TrimPrefix(b, "```console\n"), "```"), "$ taskweir ") {
			line, said, _ := strings.Cut(part, "\n")
			if line == "" {
				continue
			}
			ran++
			r := run(t, url, "", words(line)...)
			now := prints(r.out + r.err)
			if now != said && !*update {
				t.Errorf("%s\nprints\n%s\nthe page says\n%s", line, now, said)
			}
			out += "$ taskweir " + line + "\n" + now
		}
		return out + "```"
	})
	if ran < least {
		t.Fatalf("only %d commands were found", ran)
	}
	if *update {
		if err := os.WriteFile(page, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDocumentedCommands(t *testing.T) {
	documented(t, "../../docs/cli.md", 15, steady)
	documented(t, "../../docs/schedules.md", 10, func(text string) string { return trailing.ReplaceAllString(text, "") })
}

// Every other command line of the page is one: no command, flag or argument in it is wrong.
func TestOtherCommandLinesOfThePageAreUnderstood(t *testing.T) {
	raw, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, block := range shellBlock.FindAllStringSubmatch(string(raw), -1) {
		for line := range strings.Lines(block[1]) {
			for part := range strings.SplitSeq(line, " | ") {
				rest, ok := strings.CutPrefix(strings.TrimPrefix(strings.TrimSpace(part), "xargs "), "taskweir ")
				if !ok || strings.HasPrefix(rest, "context ") || strings.Contains(rest, "--context") || strings.HasSuffix(rest, "retry") || rest == "top" || strings.HasSuffix(rest, " -w") {
					continue // contexts, top and -w have tests of their own; xargs gives the rest
				}
				rest, _, _ = strings.Cut(rest, " > ")
				rest, _, _ = strings.Cut(rest, " >> ")
				ran++
				srv := httptest.NewServer(&recorder{query: map[string]map[string]bool{}})
				args := words(strings.ReplaceAll(rest, "@payload.json", "1"))
				if args[0] == "events" {
					args = append(args, "--count=1")
				}
				d := Deps{asks: true, Environ: []string{"TASKWEIR_URL=" + srv.URL, "TASKWEIR_API_KEY=" + testKey}}
				if r := runWith(t, d, "{\"kind\":\"echo\"}\n", args...); r.code == ExitUsage {
					t.Errorf("%s: %s", rest, r.err)
				}
				srv.Close()
			}
		}
	}
	if ran < 30 {
		t.Errorf("only %d command lines were found", ran)
	}
}

// The reference is what the commands say of themselves.
func TestReferenceIsUpToDate(t *testing.T) {
	const page = "../../docs/cli-reference.md"
	d := everything()
	d.Probes.Database = func(context.Context, *config.Config) (doctor.Database, error) { return nil, nil }
	root := Root(d)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var b strings.Builder
	b.WriteString("# Reference of the command line\n\nMade from the program by a test (`make docs`). What belongs together, and the exit codes, are in [cli.md](cli.md).\n\n")
	describe(&b, root, 2)
	old, err := os.ReadFile(page)
	switch {
	case string(old) == b.String():
	case *update:
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	default:
		t.Errorf("docs/cli-reference.md is not up to date: run make docs (%v)", err)
	}
}

func describe(b *strings.Builder, c *cobra.Command, level int) {
	c.InitDefaultHelpFlag()
	fmt.Fprintf(b, "%s %s\n\n", strings.Repeat("#", min(level, 4)), c.CommandPath())
	fmt.Fprintf(b, "%s.\n\n", strings.TrimSuffix(c.Short, "."))
	if c.Long != "" && c.Long != c.Short {
		fmt.Fprintf(b, "```text\n%s\n```\n\n", trailing.ReplaceAllString(strings.TrimSpace(c.Long), ""))
	}
	if c.Runnable() {
		fmt.Fprintf(b, "```text\n%s\n", c.UseLine())
		if flags := c.NonInheritedFlags().FlagUsages(); flags != "" {
			fmt.Fprintf(b, "\n%s", trailing.ReplaceAllString(flags, ""))
		}
		if c.Example != "" {
			fmt.Fprintf(b, "\n%s\n", c.Example)
		}
		b.WriteString("```\n\n")
	}
	for _, sub := range c.Commands() {
		if sub.Name() == "help" || c.Name() == "completion" {
			continue
		}
		describe(b, sub, level+1)
	}
}

// words splits a command line as a shell does, as far as the pages need it: blanks and single quotes.
func words(line string) (out []string) {
	for i, part := range strings.Split(line, "'") {
		if i%2 == 1 {
			out = append(out, part)
			continue
		}
		out = append(out, strings.Fields(part)...)
	}
	return out
}
