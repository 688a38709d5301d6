package cron

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var (
	update      = flag.Bool("update", false, "write testdata/quartz.txt anew from the answers of the real Quartz (libquartz2-java and a JDK)")
	seed        = flag.Uint64("seed", 42, "of the random expressions")
	expressions = flag.Int("expressions", 2000, "how many random expressions are compared with the real Quartz")
)

// question is what Quartz is asked.
type question struct {
	count int
	start int64 // s
	expr  string
}

// answer is what it said.
type answer struct {
	refused bool
	fires   []int64 // s
	end     string  // "hang", "broken" or empty
}

// askQuartz runs testdata/Oracle.java on the real Quartz; lastYear is the last one that it knows.
func askQuartz(t *testing.T, questions []question) (answers []answer, lastYear int) {
	t.Helper()
	var in, stderr bytes.Buffer
	for _, q := range questions {
		fmt.Fprintf(&in, "%d %d %s\n", q.count, q.start, q.expr)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "java", "-XX:TieredStopAtLevel=1", "-cp", strings.Join(quartzJars, ":"), "testdata/Oracle.java")
	cmd.Stdin, cmd.Stderr = &in, &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("java: %v\n%s", err, stderr.String())
	}
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if lastYear, err = strconv.Atoi(lines[0]); err != nil || len(lines) != len(questions)+1 {
		t.Fatalf("%d answers to %d questions, first line %q", len(lines)-1, len(questions), lines[0])
	}
	for _, line := range lines[1:] {
		answers = append(answers, parseAnswer(t, line))
	}
	return answers, lastYear
}

func parseAnswer(t *testing.T, line string) answer {
	t.Helper()
	words := strings.Fields(line)
	if words[0] == "refused" {
		return answer{refused: true}
	}
	var a answer
	for _, word := range words[1:] {
		if word == "hang" || word == "broken" {
			a.end = word
			continue
		}
		at, err := strconv.ParseInt(word, 10, 64)
		if err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		a.fires = append(a.fires, at)
	}
	return a
}

var quartzJars = []string{"/usr/share/java/quartz2.jar", "/usr/share/java/slf4j-api.jar"}

// needQuartz skips a test where there is no Quartz 2.3.2, or nothing to run it.
func needQuartz(t *testing.T) {
	t.Helper()
	for _, jar := range append(slices.Clone(quartzJars), "/usr/share/java/quartz2-2.3.2.jar") {
		if _, err := os.Stat(jar); err != nil {
			t.Skipf("skipped: the real Quartz 2.3.2 is not installed (Debian: libquartz2-java): %v; the recorded table is checked instead", err)
		}
	}
	out, err := exec.CommandContext(t.Context(), "java", "--list-modules").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("jdk.compiler")) {
		t.Skipf("skipped: no java that can run a source file (Debian: default-jdk-headless): %v; the recorded table is checked instead", err)
	}
}

// refusal is a sort of expression that Quartz 2.3.2 accepts and this package refuses, because Quartz reads something else than
// what is written. There is no other difference but differs below.
type refusal struct {
	why   string
	where *regexp.Regexp // matches the field that the error points at
	parts string         // the fields it holds for; empty: all
	say   []string       // expressions
}

var refusals = []refusal{
	{"98 and 99 are Quartz's own codes for ? and *", regexp.MustCompile(`(^|[,/-])0*9[89]([^0-9]|$)`), "",
		[]string{"99 0 0 * * ?", "0 99/7 0 * * ?", "0 0 99 * * ?", "0 0 0 98 * MON", "0 0 0 99 * ?", "0 0 0 1 99 ?", "0 0 0 ? * 99", "0 0 0 * * 98", "0 0 0 * * ? 99"}},
	{"a step of 0 means every, or only the first", regexp.MustCompile(`/0+([^0-9]|$)`), "", []string{"*/0 0 0 * * ?", "0 5/0 0 * * ?", "0 0 1-5/0 * * ?", "0 0 0 /0 * ?"}},
	{"a step with a sign: a negative one means every", regexp.MustCompile(`/[+-]\d`), "", []string{"*/-5 0 0 * * ?", "0 */+5 0 * * ?", "0 /-5 0 * * ?"}},
	{"a number with a sign after #", regexp.MustCompile(`#\+`), "day-of-week", []string{"0 0 0 ? * 6#+3"}},
	{"of a list with # or W only one item counts, and of one with ? none", regexp.MustCompile(`(?i),.*[#W?]|[#W?].*,`), "day-of-month day-of-week",
		[]string{"0 0 0 ? * MON,FRI#2", "0 0 0 ? * FRI#2,3", "0 0 0 1W,15W * ?", "0 0 0 15W,1 * ?", "0 0 0 1 * ?,MON", "0 0 0 5,? * MON"}},
	{"days that no week has before #, and day 0 before W", regexp.MustCompile(`(?i)^\d+[#W]`), "day-of-month day-of-week", []string{"0 0 0 ? * 0#2", "0 0 0 ? * 8#2", "0 0 0 ? * 15#1", "0 0 0 0W * ?"}},
	{"a range that ends at 0 where there is no 0", regexp.MustCompile(`-0+([^0-9]|$)`), "day-of-month month day-of-week", []string{"0 0 0 5-0 * ?", "0 0 0 1 3-0 ?", "0 0 0 ? * 2-0"}},
	{"L in a field that has no last: Quartz fails when it looks for a time", regexp.MustCompile(`(?i)(^|,)L(W|-\d*W?)?(,|$)`), "second minute hour month year",
		[]string{"L 0 0 * * ?", "0 L 0 * * ?", "0 0 L * * ?", "0 0 0 1 L ?", "0 0 0 1 1 ? L", "0 0 0,L * * ?"}},
	{"L- without a number", regexp.MustCompile(`(?i)^L-W$`), "day-of-month", []string{"0 0 0 L-W * ?"}},
	{"empty places of a list are passed over", regexp.MustCompile(`^,|,,|,$`), "", []string{"1,,2 0 0 * * ?", "0 1, 0 * * ?", "0 0 0 ,1 * ?", "0 0 0 ? * FRI#2,", "0 0 0 * * ? 2030,", "0 , 0 * * ?"}},
	{"years before 1970", regexp.MustCompile(`(^|[,-])0*(\d{1,3}|1[0-8]\d\d|19[0-6]\d)([^0-9]|$)`), "year", []string{"0 0 0 * * ? 1969-2030", "0 0 0 * * ? 5", "0 0 0 * * ? 1950/10"}},
	{"years after 9999", regexp.MustCompile(`(^|[,-])0*[1-9]\d{4}`), "year", []string{"0 0 0 * * ? 2020-20300", "0 0 0 * * ? 20200"}},
	{"steps of years beyond 9999", regexp.MustCompile(`/0*[1-9]\d{4}`), "year", []string{"0 0 0 * * ? 2020/20300"}},
	{"numbers of ten digits and more", regexp.MustCompile(`[1-9]\d{9}`), "", []string{"0 0 0 1-5/2147483647 * ?"}},
	{"of a name that is too long only three letters count", regexp.MustCompile(`(?i)(SUN|MON|TUE|WED|THU|FRI|SAT|JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC)[A-Z]`), "month day-of-week",
		[]string{"0 0 0 ? * MONDAY", "0 0 0 ? * MONDAY-FRIDAY", "0 0 0 1 JANUARY ?", "0 0 0 ? * FRILY"}},
}

// ignored are expressions of which Quartz passes over a part. The test proves it for each: without the text that the error points
// at, Quartz answers the same.
var ignored = []string{
	"5X 0 0 * * ?", "*5 0 0 * * ?", "0 *-5 0 * * ?", "0 ** 0 * * ?", "0 0 1-5X * * ?", "0 0 1-5/2X * * ?", "0 0 0/12X * * ?", "0 0 1-5-9 * * ?",
	"0 0 0 15WX * ?", "0 0 0 5C * ?", "0 0 0 ? * 6LX", "0 0 0 ?X * MON", "0 0 0 1 * ?X", "0 0 0 ? * MON/2", "0 0 0 ? * MON-FRI/2", "0 0 0 1 FEB/3 ?",
	"0 0 0 ? * LW", "0 0 0 ? * L-3", "0 0 0 ? * 2-5L", "0 0 0 ? * 2-5#3", "0 0 0 1-5W * ?", "0 0 0 ? * MON-FRI#2", "0 0 0 * * ? 2030X", "0 0 0 * * ? * *",
	"0 0 0 * * ? 2030 what is this", "0 0 0 ? * FRIL5",
}

// field of the expression that an error points at.
func fieldAt(e *Error) string {
	p, err := split(e.Expr)
	if err != nil {
		return ""
	}
	for _, f := range p.fields {
		if f.pos <= e.Pos && e.Pos < f.end {
			return e.Expr[f.pos:f.end]
		}
	}
	return ""
}

// listed tells whether a refusal stands in the list.
func listed(e *Error) bool {
	return slices.ContainsFunc(refusals, func(r refusal) bool {
		return r.where.MatchString(fieldAt(e)) && (r.parts == "" || slices.Contains(strings.Fields(r.parts), e.Part))
	})
}

// without is the expression without what the error points at.
func without(e *Error) string { return e.Expr[:e.Pos] + e.Expr[e.Pos+e.Len:] }

// compare says how this package differs from Quartz's answer; empty if it does not. unproven is set when the difference is allowed
// if Quartz passes over what it points at.
func compare(q question, want answer, lastYear int) (difference string, unproven *Error) {
	table, err := Compile(Spec{Cron: q.expr, Dialect: Quartz}, "UTC", "", "")
	var e *Error
	switch {
	case err != nil && !errors.As(err, &e):
		return "not an *Error: " + err.Error(), nil
	case want.refused && err == nil:
		return "Quartz refuses it", nil
	case want.refused:
		return "", nil
	case err != nil && e.Rule == "never":
		if len(want.fires) > 0 || want.end != "" {
			return fmt.Sprintf("said to be never, Quartz: %v %s", want.fires, want.end), nil
		}
		return "", nil
	case err != nil && listed(e):
		return "", nil
	case err != nil:
		return "", e
	}
	return compareFires(table, q, want, lastYear), nil
}

// differs are the expressions for which Quartz's answer depends on where its search began, and those it never answers.
var (
	hangs        = regexp.MustCompile(`(?i)[ \t]L-0*(28|29|30)W[ \t]`)
	februaryNear = regexp.MustCompile(`(?i)[ \t]0*(29|30)W[ \t]`)
)

func compareFires(table *Timetable, q question, want answer, lastYear int) string {
	if want.end != "" && !(want.end == "hang" && hangs.MatchString(q.expr)) {
		return "Quartz: " + want.end
	}
	got, fires := firesOf(table, q, dayOf(lastYear+1, 1, 1)*secondsADay), want.fires
	if februaryNear.MatchString(q.expr) {
		got, fires = dropFebruary(got), dropFebruary(fires)
	}
	if goesOn := want.end != "" || len(want.fires) == q.count; goesOn {
		got = got[:min(len(got), len(fires))]
	}
	if !slices.Equal(got, fires) {
		return fmt.Sprintf("got %v, want %v", got, fires)
	}
	return ""
}

// dropFebruary leaves the last days of February out, if they come first.
func dropFebruary(fires []int64) []int64 {
	for len(fires) > 0 {
		if _, m, d := dateOf(floorDiv(fires[0], secondsADay)); m != 2 || d < 28 {
			break
		}
		fires = fires[1:]
	}
	return fires
}

// firesOf gives more fires than were asked for, but only those before end: what Quartz does not know of.
func firesOf(table *Timetable, q question, end int64) (fires []int64) {
	at := q.start * 1000
	for range 3 * q.count {
		next, ok := table.Next(at)
		if !ok || next >= end*1000 {
			break
		}
		fires = append(fires, next/1000)
		at = next
	}
	return fires
}

// checkAgainstQuartz compares all answers, and lets Quartz prove what it passes over.
func checkAgainstQuartz(t *testing.T, questions []question, answers []answer, lastYear int) {
	t.Helper()
	var proofs []question
	var whole []int
	for i, q := range questions {
		difference, unproven := compare(q, answers[i], lastYear)
		if difference != "" {
			t.Errorf("%q from %d: %s", q.expr, q.start, difference)
		}
		if unproven != nil {
			proofs, whole = append(proofs, question{q.count, q.start, without(unproven)}), append(whole, i)
		}
	}
	if len(proofs) == 0 {
		return
	}
	shorter, _ := askQuartz(t, proofs)
	for i, p := range proofs {
		if full := answers[whole[i]]; shorter[i].refused != full.refused || !slices.Equal(shorter[i].fires, full.fires) {
			t.Errorf("%q is refused here; Quartz accepts it, and does not pass over the rest of %q", questions[whole[i]].expr, p.expr)
		}
	}
}

func TestQuartzFiresAsTheRealOne(t *testing.T) {
	needQuartz(t)
	g := newGenerator(*seed)
	questions := make([]question, *expressions)
	for i := range questions {
		questions[i] = question{12, g.start(), g.expression()}
	}
	answers, lastYear := askQuartz(t, questions)
	accepted := 0
	for _, a := range answers {
		if !a.refused {
			accepted++
		}
	}
	if accepted < len(questions)/2 || accepted > len(questions)*95/100 {
		t.Errorf("%d of %d expressions are right: the generator does not try both", accepted, len(questions))
	}
	checkAgainstQuartz(t, questions, answers, lastYear)
}

func TestQuartzAcceptsWhatIsRefusedHere(t *testing.T) {
	needQuartz(t)
	const start = 1_800_000_000
	var questions []question
	for _, r := range refusals {
		for _, expr := range r.say {
			_, err := Compile(Spec{Cron: expr, Dialect: Quartz}, "UTC", "", "")
			var e *Error
			if !errors.As(err, &e) || !r.where.MatchString(fieldAt(e)) || r.parts != "" && !slices.Contains(strings.Fields(r.parts), e.Part) {
				t.Errorf("%q: %v, want the refusal of %s", expr, err, r.why)
			}
			questions = append(questions, question{3, start, expr})
		}
	}
	for _, expr := range ignored {
		if _, err := Compile(Spec{Cron: expr, Dialect: Quartz}, "UTC", "", ""); err == nil {
			t.Errorf("%q is accepted", expr)
		}
		questions = append(questions, question{3, start, expr})
	}
	answers, lastYear := askQuartz(t, questions)
	for i, a := range answers {
		if a.refused && questions[i].expr != "0 , 0 * * ?" {
			t.Errorf("Quartz refuses %q too", questions[i].expr)
		}
	}
	var proofs []question
	var proven []answer
	for i, q := range questions {
		if slices.Contains(ignored, q.expr) {
			proofs, proven = append(proofs, q), append(proven, answers[i])
		}
	}
	checkAgainstQuartz(t, proofs, proven, lastYear)
}
