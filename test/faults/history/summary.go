package history

import (
	"fmt"
	"strings"
	"time"
)

// Summary says in a few lines what was found, with at most so many violations of each rule.
func (r *Report) Summary(most int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d tasks accepted, %d more with unknown answers, %d attempts, %d effects; %d lost, %d double, %d duplicates (%s), %d late (%d refused), %d unsure within %v; faults reach %.0f %% of the workers' time, %d explanations came after their fault\n",
		r.Tasks, r.Found, r.Attempts, r.Effects, r.Lost, r.Double, len(r.Duplicates), r.causes(), r.Late, r.Refused, r.Unsure, r.Error.Round(10*time.Microsecond), 100*r.Reach, r.After)
	counts := map[Rule]int{}
	for _, v := range r.Violations {
		if counts[v.Rule]++; counts[v.Rule] <= most {
			fmt.Fprintf(&b, "%s: task %d %s\n", v.Rule, v.Task, v.Text)
		}
	}
	for _, rule := range Rules() {
		if counts[rule] > most {
			fmt.Fprintf(&b, "%s: %d in all\n", rule, counts[rule])
		}
	}
	return b.String()
}

func (r *Report) causes() string {
	counts := map[Cause]int{}
	for _, d := range r.Duplicates {
		counts[d.By]++
	}
	return fmt.Sprintf("%d by their policy, %d by an explicit retry, %d by a fault, %d by nothing", counts[ByPolicy], counts[ByRetry], counts[ByFault], counts[ByNothing])
}
