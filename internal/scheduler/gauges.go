package scheduler

import (
	"time"

	"github.com/taskweir/taskweir/internal/metrics"
)

// queueLoad adds up the lanes of one queue that this scheduler owns.
type queueLoad struct {
	minDue int64
	slots  float64
}

// queueGauges shows what autoscalers read of the queues, and takes away what belongs to queues whose last lane went to another
// scheduler: that one shows them now, and the last value here would stand beside its for ever.
type queueGauges struct {
	set   *metrics.Set
	shown map[string]bool
}

// show sets the gauges of all queues that are owned at an instant of the database's clock, in ms.
func (g *queueGauges) show(queues map[string]queueLoad, now int64) {
	for queue, q := range queues {
		var age time.Duration
		if q.minDue > 0 {
			age = time.Duration(max(0, now-q.minDue)) * time.Millisecond
		}
		g.set.Queue(queue, age, int(q.slots+0.999))
	}
	for queue := range g.shown {
		if _, ok := queues[queue]; !ok {
			g.set.QueueGone(queue)
			delete(g.shown, queue)
		}
	}
	for queue := range queues {
		if g.shown == nil {
			g.shown = map[string]bool{}
		}
		g.shown[queue] = true
	}
}
