package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// cell is one value of a pane's row.
type cell struct {
	text   string
	number float64 // sorts the column, if numeric
	style  string
}

// column is a column of a pane.
type column struct {
	name    string
	width   int  // columns of the terminal; 0: what is left over
	numeric bool // right-aligned, sorted by number, largest first
}

// pane is one table of the screen. Its rows are named, so that the selection stays on what was selected.
type pane struct {
	title    string
	columns  []column
	rows     []paneRow
	sort     int // column
	reverse  bool
	selected string
	top      int    // the first row that is shown
	note     string // before the keys in the last line
}

type paneRow struct {
	name  string
	cells []cell
}

// Panes.
const (
	paneQueues = iota
	paneWorkers
	paneFailures
	panes
)

// topView is what the screen shows.
type topView struct {
	panes  [panes]pane
	focus  int
	head   string // first line
	alarm  string // instead of the head, when something is wrong
	foot   string // last line, when there is something to say
	colour bool
}

func newTopView(colour bool) *topView {
	v := &topView{colour: colour}
	v.panes[paneQueues] = pane{title: "QUEUES", columns: []column{
		{"QUEUE", 0, false}, {"STATE", 6, false}, {"DUE", 8, true}, {"OLDEST", 7, true}, {"IN/S", 7, true}, {"OUT/S", 7, true}, {"RUN", 6, true}, {"LATER", 7, true}, {"LIMITS", 14, false},
	}, sort: 2}
	v.panes[paneWorkers] = pane{title: "WORKERS", columns: []column{
		{"WORKER", 8, false}, {"STATE", 8, false}, {"BUSY", 9, true}, {"BEAT", 7, true}, {"HOST", 14, false}, {"RUNS", 0, false},
	}, sort: 2}
	v.panes[paneFailures] = pane{title: "FAILURES", columns: []column{
		{"COUNT", 6, true}, {"NEWEST", 8, true}, {"TASK", 10, false}, {"KIND", 12, false}, {"QUEUE", 10, false}, {"ERROR", 0, false},
	}, sort: 1}
	return v
}

// take fills the panes from a snapshot.
func (v *topView) take(s *snapshot, server string) {
	due, running, busy, slots := int64(0), int64(0), 0, 0
	q, w, f := &v.panes[paneQueues], &v.panes[paneWorkers], &v.panes[paneFailures]
	q.rows, w.rows, f.rows = nil, nil, nil
	for _, x := range s.queues {
		due += x.Depth.Value
		running += x.Running.Value
		q.rows = append(q.rows, queueCells(x))
	}
	q.note = s.noStats
	for _, x := range s.workers {
		busy += x.Busy
		slots += x.Slots
		w.rows = append(w.rows, workerCells(x, s.at))
	}
	for _, x := range s.failures {
		f.rows = append(f.rows, failureCells(x, s.at))
	}
	if f.note = ""; s.limited {
		f.note = fmt.Sprintf("the newest %d", topFailures)
	}
	for i := range v.panes {
		v.panes[i].arrange()
	}
	at := ""
	if s.at != 0 {
		at = timeOfDay(s.at)[:8]
	}
	v.head = fmt.Sprintf("taskweir top %s  %d due, %d running, %d/%d slots busy, %d workers  %s", at, due, running, busy, slots, len(s.workers), server)
}

func queueCells(x topQueue) paneRow {
	state, style := openOrPaused(x.Paused), ""
	if x.Paused {
		style = styleYellow
	}
	oldest := cell{}
	if x.OldestDueAt != 0 {
		oldest = cell{text: rough(x.OldestDueAgeMs), number: float64(x.OldestDueAgeMs)}
	}
	limits := strings.TrimPrefix(rateText(x.Limits.Rate), " ")
	if x.Limits.Concurrency != nil {
		limits = strings.TrimSpace(limits + " ≤" + concurrencyText(x.Limits.Concurrency))
	}
	return paneRow{x.Name, []cell{
		{text: x.Name}, {text: state, style: style}, counted(x.Depth), oldest, rated(x.in), rated(x.out), counted(x.Running), counted(x.Scheduled), {text: limits},
	}}
}

func counted(c apiv1.Count) cell { return cell{text: count(c), number: float64(c.Value)} }

func rated(perSecond float64) cell {
	switch {
	case perSecond < 0:
		return cell{number: -1}
	case perSecond == 0:
		return cell{text: "0"}
	case perSecond < 100:
		return cell{text: strconv.FormatFloat(perSecond, 'f', 1, 64), number: perSecond}
	}
	return cell{text: strconv.FormatFloat(perSecond, 'f', 0, 64), number: perSecond}
}

func workerCells(x apiv1.Worker, now apiv1.Time) paneRow {
	var runs []string
	for _, r := range x.Running {
		text := r.Kind + " " + r.Task.String() + " " + rough(max(0, int64(now-r.StartedAt)))
		if r.Zombie {
			text += " zombie"
		}
		runs = append(runs, text)
	}
	state := cell{text: x.State, style: stateStyle(x.State)}
	if x.Zombies > 0 {
		state.style = styleRed
	}
	beat := int64(now - x.BeatAt)
	return paneRow{x.ID.String(), []cell{
		{text: x.ID.String()}, state, {text: fmt.Sprintf("%d/%d", x.Busy, x.Slots), number: float64(x.Busy)}, {text: rough(max(0, beat)), number: float64(beat)}, {text: x.Host}, {text: strings.Join(runs, ", ")},
	}}
}

func failureCells(x topFailure, now apiv1.Time) paneRow {
	since := int64(now - x.newest)
	return paneRow{x.task.String(), []cell{
		{text: strconv.Itoa(x.count), number: float64(x.count)}, {text: rough(max(0, since)), number: -float64(since)}, {text: x.task.String()}, {text: x.kind}, {text: x.queue}, {text: x.text, style: styleRed},
	}}
}

// arrange sorts the rows and keeps the selection on a row.
func (p *pane) arrange() {
	by := p.columns[p.sort]
	slices.SortStableFunc(p.rows, func(a, b paneRow) int {
		x, y := a.cells[p.sort], b.cells[p.sort]
		order := cmp.Compare(x.text, y.text)
		if by.numeric {
			order = cmp.Compare(y.number, x.number)
		}
		if p.reverse {
			order = -order
		}
		return cmp.Or(order, cmp.Compare(a.name, b.name))
	})
	if p.at() < 0 {
		p.selected = ""
		if len(p.rows) > 0 {
			p.selected = p.rows[0].name
		}
	}
}

// at is the index of the selected row; -1: there is none.
func (p *pane) at() int {
	return slices.IndexFunc(p.rows, func(r paneRow) bool { return r.name == p.selected })
}

// move selects another row.
func (p *pane) move(by int) {
	if len(p.rows) > 0 {
		p.selected = p.rows[min(max(p.at()+by, 0), len(p.rows)-1)].name
	}
}

// lines draws the whole screen: exactly height lines of at most width columns each.
func (v *topView) lines(width, height int) []string {
	head := v.paint(pad(clean(v.head), width), styleBold)
	if v.alarm != "" {
		head = v.paint(pad(clean(v.alarm), width), styleRed)
	}
	out := []string{head}
	for i, n := range v.heights(height - 2) {
		out = append(out, v.panes[i].lines(width, n, i == v.focus, v.paint)...)
	}
	for len(out) < height-1 {
		out = append(out, "")
	}
	foot := v.foot
	if foot == "" {
		foot = topKeys[v.focus]
		if note := v.panes[v.focus].note; note != "" {
			foot = note + "  " + foot
		}
	}
	return append(out[:max(0, min(len(out), height-1))], v.paint(pad(clean(foot), width), styleInvert))
}

// topKeys is the last line, for each pane.
var topKeys = [panes]string{
	"q quit  tab pane  ↑↓ select  s sort  r reverse  p pause/resume the queue",
	"q quit  tab pane  ↑↓ select  s sort  r reverse  d drain the worker",
	"q quit  tab pane  ↑↓ select  s sort  r reverse  taskweir tasks get TASK",
}

// heights shares the lines among the panes: each gets what it needs while there is room; what is missing is taken from those
// that would have most, the one in focus last.
func (v *topView) heights(lines int) [panes]int {
	var out [panes]int
	total := 0
	for i := range out {
		out[i] = 1 + max(1, len(v.panes[i].rows))
		total += out[i]
	}
	for total > lines {
		most := -1
		for i, n := range out {
			if n > 2 && (most < 0 || n-v.favour(i) > out[most]-v.favour(most)) {
				most = i
			}
		}
		if most < 0 {
			break
		}
		out[most]--
		total--
	}
	return out
}

func (v *topView) favour(i int) int {
	if i == v.focus {
		return 4
	}
	return 0
}

func (v *topView) paint(text, style string) string {
	if !v.colour {
		return text
	}
	return styled(text, style)
}

// lines draws a pane: its header and height-1 rows, scrolled so that the selection is seen.
func (p *pane) lines(width, height int, focus bool, paint func(text, style string) string) []string {
	widths := p.widths(width)
	var head []string
	for i, c := range p.columns {
		name := c.name
		if i == p.sort {
			name += map[bool]string{true: "▲", false: "▼"}[p.reverse]
		}
		head = append(head, aligned(name, widths[i], c.numeric))
	}
	title := strings.Join(head, " ")
	mark, style := " ", styleDim
	if focus {
		mark, style = "▸", styleBold
	}
	out := []string{paint(pad(mark+clean(title), width), style)}
	room := max(0, height-1)
	if at := p.at(); at >= 0 {
		p.top = max(min(p.top, at), at-room+1)
	}
	p.top = max(0, min(p.top, len(p.rows)-room))
	for i := p.top; i < len(p.rows) && len(out) < height; i++ {
		out = append(out, p.rowLine(p.rows[i], widths, width, focus, paint))
	}
	if len(p.rows) == 0 && height > 1 {
		out = append(out, " none")
	}
	return out
}

func (p *pane) rowLine(r paneRow, widths []int, width int, focus bool, paint func(text, style string) string) string {
	selected := focus && r.name == p.selected
	var cells []string
	for i, c := range r.cells {
		text := aligned(printable(c.text), widths[i], p.columns[i].numeric)
		if !selected {
			text = paint(text, c.style)
		}
		cells = append(cells, text)
	}
	line := " " + strings.Join(cells, " ")
	if selected {
		return paint(pad(">"+line[1:], width), styleInvert)
	}
	return line
}

// widths gives the flexible column what the others leave, and leaves columns out at the right when there is too little room.
func (p *pane) widths(width int) []int {
	out, left, flexible := make([]int, len(p.columns)), width-1-(len(p.columns)-1), -1
	for i, c := range p.columns {
		out[i] = c.width
		left -= c.width
		if c.width == 0 {
			flexible = i
		}
	}
	if out[flexible] = max(left, 10); left < 10 {
		for i, missing := len(out)-1, 10-left; i >= 0 && missing > 0; i-- {
			if i != flexible {
				take := min(out[i], missing)
				out[i] -= take
				missing -= take
			}
		}
	}
	return out
}

func aligned(text string, width int, right bool) string {
	if text = fit(text, width); right {
		return strings.Repeat(" ", max(0, width-columns(text))) + text
	}
	return pad(text, width)
}
