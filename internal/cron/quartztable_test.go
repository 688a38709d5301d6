package cron

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
)

// The table holds a line for each expression: the start, the expression in quotes, Quartz's answer.
const tableFile = "testdata/quartz.txt"

func TestQuartzTable(t *testing.T) {
	if *update {
		writeTable(t)
	}
	data, err := os.ReadFile(tableFile)
	if err != nil {
		t.Fatal(err)
	}
	lastYear, lines := 0, 0
	scanner := bufio.NewScanner(bytes.NewReader(data))
	for scanner.Scan() {
		line := scanner.Text()
		if year, ok := strings.CutPrefix(line, "last year "); ok {
			lastYear, err = strconv.Atoi(year)
			if err != nil {
				t.Fatal(err)
			}
			continue
		}
		if line == "" || line[0] == '#' {
			continue
		}
		lines++
		parts := strings.SplitN(line, "\t", 3)
		start, err := strconv.ParseInt(parts[0], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		expr, err := strconv.Unquote(parts[1])
		if err != nil {
			t.Fatal(err)
		}
		difference, unproven := compare(question{tableFires, start, expr}, parseAnswer(t, parts[2]), lastYear)
		if difference != "" {
			t.Errorf("%q from %d: %s", expr, start, difference)
		}
		if unproven != nil {
			t.Errorf("%q from %d is refused: %v", expr, start, unproven)
		}
	}
	if lines < 500 {
		t.Errorf("only %d expressions", lines)
	}
}

const tableFires = 6

// writeTable records what Quartz says to hard cases and to random expressions.
func writeTable(t *testing.T) {
	needQuartz(t)
	var questions []question
	for _, expr := range hardCases {
		for _, start := range []int64{1_647_770_400, 1_793_923_200} { // 2022-03-20T10:00:00Z, 2026-11-06
			questions = append(questions, question{tableFires, start, expr})
		}
	}
	for g := newGenerator(2); len(questions) < 1000; {
		questions = append(questions, question{tableFires, g.start(), g.expression()})
	}
	answers, lastYear := askQuartz(t, questions)
	var b strings.Builder
	fmt.Fprintf(&b, "# What Quartz 2.3.2 says: start (s since 1970), expression, and the next %d fires (s, UTC), or that it refuses.\n", tableFires)
	fmt.Fprintf(&b, "# Written by: go test ./internal/cron -run TestQuartzTable -update\nlast year %d\n", lastYear)
	for i, q := range questions {
		if _, unproven := compare(q, answers[i], lastYear); unproven != nil {
			continue // what Quartz passes over is proven with the real one only
		}
		fmt.Fprintf(&b, "%d\t%q\t%s\n", q.start, q.expr, answers[i])
	}
	if err := os.WriteFile(tableFile, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
}

// String is the line of the answer in the table.
func (a answer) String() string {
	if a.refused {
		return "refused"
	}
	words := []string{"ok"}
	for _, at := range a.fires {
		words = append(words, strconv.FormatInt(at, 10))
	}
	if a.end != "" {
		words = append(words, a.end)
	}
	return strings.Join(words, " ")
}

var hardCases = []string{
	"0/5 * * * * ? *", "0 0 0/5 * * ? *", "0 0 12 ? * 6#3", "0 0 0 L * ?", "0 0 9 15W * ?", "0 0 0 1 1 ? 2020",
	"0 0 12 ? * FRI#2", "0 0 12 ? * FRI#5", "0 0 12 ? * fril", "0 0 12 ? * 6L", "0 0 0 ? * L", "0 0 0 L-3W * ?", "0 0 0 L-3 * ?", "0 0 0 LW * ?", "/5 * * * * ?", "0 /7 * * * ?",
	"0 0 0 31W * ?", "0 0 0 31W 4 ?", "0 0 0 31W APR,JUN,SEP,NOV ?", "0 0 0 30W * ?", "0 0 0 29W 2 ?", "0 0 0 1W * ?", "0 0 0 L-30 * ?", "0 0 0 L-29 * ?", "0 0 0 L-27W * ?", "0 0 0 L-30W * ?",
	"0 0 0 ? * */2", "0 0 0 ? * 2/2", "0 0 0 ? FEB 2#5", "0 0 0 29 2 ?", "0 0 0 29 FEB ? 2028", "0 0 0 31 * ?", "0 0 0 30,31 * ?", "0 0 0 31 2 ?", "0 0 0 30 2 ?",
	"0 0 22-2 * * ?", "0 50-10/5 * * * ?", "0 0 0 25-5/3 * ?", "0 0 0 1 NOV-FEB ?", "0 0 0 1 11-2/2 ?", "0 0 0 ? * FRI-MON", "0 0 0 ? * 6-2/2", "0 0 0 * * ? 2030-2020", "0 0 0 * * ? 2027-2029",
	"0 0 0 1 1 ? 2026/5", "0 0 0 1 1 ? */7", "0 0 0 1 1 ? 2130", "59 59 23 31 12 ?", "59 59 23 L 12 ? 2126", "0 0/60 * * * ?", "0 0/59 * * * ?", "0 0 */24 * * ?", "0 0 */23 * * ?", "0 0 0 */32 * ?",
	"0 0 0 */31 * ?", "0 0 0 1 */13 ?", "0 0 0 1 */12 ?", "0 0 0 ? * */8", "0 0 0 ? * */7", "0 0 0 1-5/70 * ?", "60 * * * * ?", "0 0 24 * * ?", "0 0 0 32 * ?", "0 0 0 0 * ?", "0 0 0 1 13 ?", "0 0 0 1 0 ?",
	"0 0 0 ? * 8", "0 0 0 ? * 0", "0 0 0 ? * 0L", "0 0 0 ? * 8L", "0 0 0 L-31 * ?", "0 0 0 32W * ?", "0 0 0 ? * 6#6", "0 0 0 ? * 6#0", "0 0 0 ? * #3", "0 0 0 W * ?", "0 0 0 * * *", "0 0 0 ? * ?", "0 0 0 1 * 1",
	"0 0 0 ? * MON-5", "0 0 0 ? * 2-FRI", "0 0 0 ? * MO", "0 0 0 1 FOO ?", "0 0 MON * * ?", "0 0 0 L,15 * ?", "0 0 0 ? * 6L,2", "0 0 0 ? * 6#1,2#2", "0 0 0 5L * ?", "0 0 5W * * ?", "0 0 0 5#2 * ?", "0 0 ? * * MON",
	"0 0 0 * *", "* * * * *", "", "0", "0 0 0 1- * ?", "0 0 0 -1 * ?", "0 0 0 1/ * ?", "0 0 0 */ * ?", "0 0 0 1/X * ?", "0 0 0 */X * ?", "0 0 0 5/5X * ?", "0 0 0 ? * FRI#", "0 0 0 ? * FRI#X", "*/5 */5 */5 */5 */5 ?",
	"  0   0 12\t*  * ?  ", "0 005 0 * * ?", "0 0 0 L-030 * ?", "0 0 0 l-3w * ?", "0 0 8-18/2 ? * mon-fri", "0,30 0,30 0,12 1,15 1,7 ?", "*/7,1-3 * * * * ?", "0 0 0 ? * MON,WED,FRI", "0 0 0 ? * SUN-SUN", "0 5-5 * * * ?",
}
