package scheduler

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/taskweir/taskweir/internal/metrics"
)

// What a scheduler shows of a queue goes with the queue's last lane, and comes back with it.
func TestQueueGaugesGoWithTheirLanes(t *testing.T) {
	set := metrics.New("test")
	g := queueGauges{set: set}
	shows := func(what string) bool {
		rec := httptest.NewRecorder()
		set.Handler().ServeHTTP(rec, httptest.NewRequest("GET", "/metrics", nil))
		return strings.Contains(rec.Body.String(), what)
	}
	g.show(map[string]queueLoad{"mail": {minDue: 1000, slots: 2.5}, "other": {}}, 3000)
	if !shows(`taskweir_queue_oldest_due_seconds{queue="mail"} 2`) || !shows(`taskweir_queue_slots_needed{queue="mail"} 3`) || !shows(`taskweir_queue_slots_needed{queue="other"} 0`) {
		t.Fatal("queues that are owned are not shown")
	}
	g.show(map[string]queueLoad{"other": {}}, 4000)
	if shows(`queue="mail"`) || !shows(`queue="other"`) {
		t.Error("a queue that went is shown, or one that stayed is not")
	}
	g.show(map[string]queueLoad{"mail": {minDue: 4000}}, 5000)
	if !shows(`taskweir_queue_oldest_due_seconds{queue="mail"} 1`) || shows(`queue="other"`) {
		t.Error("a queue that came back is not shown, or one that went is")
	}
}
