package cron

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

// generator makes random Quartz expressions: most of them are right, and all constructs occur.
type generator struct{ *rand.Rand }

func newGenerator(seed uint64) generator { return generator{rand.New(rand.NewPCG(seed, 7))} }

func (g generator) oneOf(choices ...string) string { return choices[g.IntN(len(choices))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

// start gives an instant of the years 2000 to 2060, in seconds.
func (g generator) start() int64 {
	return 946_684_800 + g.Int64N(60*365*secondsADay)
}

func (g generator) expression() string {
	days, weekdays := g.monthDays(), "?"
	if g.chance(50) {
		days, weekdays = "?", g.weekdays()
	}
	if g.chance(3) {
		days, weekdays = g.oneOf("*", "?", days), g.oneOf("*", "?", weekdays)
	}
	fields := []string{g.seconds(), g.minutes(), g.hours(), days, g.months(), weekdays}
	if g.chance(25) {
		fields = append(fields, g.years())
	}
	switch {
	case g.chance(2):
		fields = fields[:g.IntN(len(fields))+1]
	case g.chance(1):
		fields = append(fields, "*", "*")
	}
	expr := strings.Join(fields, g.oneOf(" ", " ", " ", "  ", "\t"))
	if g.chance(10) {
		expr = strings.ToLower(expr)
	}
	if g.chance(12) {
		expr = g.mutate(expr)
	}
	return expr
}

// mutate changes, drops or adds one character.
func (g generator) mutate(expr string) string {
	const letters = "0123456789*/-,?LW#ABFMNORTUY +"
	at := g.IntN(len(expr))
	c := string(letters[g.IntN(len(letters))])
	switch g.IntN(3) {
	case 0:
		return expr[:at] + expr[at+1:]
	case 1:
		return expr[:at] + c + expr[at:]
	}
	return expr[:at] + c + expr[at+1:]
}

func (g generator) seconds() string {
	if g.chance(60) {
		return "0"
	}
	return g.list(0, 59, nil)
}

func (g generator) minutes() string {
	if g.chance(30) {
		return "0"
	}
	return g.list(0, 59, nil)
}

func (g generator) hours() string {
	if g.chance(20) {
		return g.oneOf("0", "9", "23")
	}
	return g.list(0, 23, nil)
}

func (g generator) months() string {
	if g.chance(50) {
		return "*"
	}
	return g.list(1, 12, monthNames)
}

func (g generator) monthDays() string {
	switch g.IntN(8) {
	case 0:
		return "L"
	case 1:
		return "LW"
	case 2:
		return fmt.Sprintf("L-%d", g.IntN(32))
	case 3:
		return fmt.Sprintf("L-%dW", g.IntN(28))
	case 4, 5:
		return fmt.Sprintf("%dW", g.IntN(32)+g.IntN(2))
	}
	return g.list(1, 31, nil)
}

func (g generator) weekdays() string {
	day := fmt.Sprint(g.IntN(7) + 1)
	if g.chance(50) {
		day = dayNames[g.IntN(7)]
	}
	switch g.IntN(7) {
	case 0:
		return "L"
	case 1:
		return day + "L"
	case 2, 3:
		return fmt.Sprintf("%s#%d", day, g.IntN(6)+g.IntN(2))
	}
	return g.list(1, 7, dayNames)
}

func (g generator) years() string {
	year := func() int { return 1995 + g.IntN(80) }
	switch g.IntN(7) {
	case 0:
		return "*"
	case 1:
		return fmt.Sprintf("*/%d", g.IntN(10)+1)
	case 2:
		return fmt.Sprintf("%d/%d", year(), g.IntN(12)+1)
	case 3:
		first := year()
		return fmt.Sprintf("%d-%d", first, first-1+g.IntN(20))
	case 4:
		first := year()
		return fmt.Sprintf("%d-%d/%d", first, first+g.IntN(20), g.IntN(6)+1)
	case 5:
		return fmt.Sprintf("%d,%d,%d", year(), year(), year())
	}
	return fmt.Sprint(year())
}

// list gives one item, or some.
func (g generator) list(least, most int, names []string) string {
	n := 1
	if g.chance(25) {
		n = g.IntN(4) + 1
	}
	items := make([]string, n)
	for i := range items {
		items[i] = g.item(least, most, names)
	}
	return strings.Join(items, ",")
}

func (g generator) item(least, most int, names []string) string {
	value := func() string {
		if names != nil && g.chance(50) {
			return names[g.IntN(len(names))]
		}
		v := least + g.IntN(most-least+1)
		if g.chance(1) {
			v = g.oneOfInts(least-1, most+1, most+10)
		}
		return fmt.Sprint(max(v, 0))
	}
	number := func() int { return least + g.IntN(most-least+1) }
	step := func() int { return 1 + g.IntN(most+g.IntN(3)) }
	switch g.IntN(9) {
	case 0:
		return "*"
	case 1:
		return fmt.Sprintf("*/%d", step())
	case 2:
		return fmt.Sprintf("%d/%d", number(), step())
	case 3:
		return fmt.Sprintf("/%d", step())
	case 4:
		if names != nil {
			return names[g.IntN(len(names))] + "-" + names[g.IntN(len(names))]
		}
		return fmt.Sprintf("%d-%d", number(), number())
	case 5:
		return fmt.Sprintf("%d-%d/%d", number(), number(), step())
	case 6:
		return fmt.Sprintf("%d-%d", number(), number())
	}
	return value()
}

func (g generator) oneOfInts(choices ...int) int { return choices[g.IntN(len(choices))] }
