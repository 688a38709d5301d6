package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// schedules are the metrics of a process that fires schedules.
type schedules struct {
	lateness prometheus.Histogram
	slots    *prometheus.CounterVec
	aside    prometheus.Gauge
}

func newSchedules() schedules {
	return schedules{
		lateness: histogram("taskweir_schedule_lateness_seconds", "How long after its instant a planned slot was written; 0 when it was written ahead.",
			[]float64{0, .002, .005, .01, .02, .05, .1, .25, .5, 1, 2, 5, 10, 60, 600, 3600, 86400}),
		slots: prometheus.NewCounterVec(opts("taskweir_schedule_slots_total", "Slots that this scheduler decided, by outcome."), []string{"outcome"}),
		aside: prometheus.NewGauge(gopts("taskweir_schedules_set_aside", "Schedules that cannot be fired for a reason of their own and are tried again later.")),
	}
}

func (s *schedules) collectors() []prometheus.Collector {
	return []prometheus.Collector{s.lateness, s.slots, s.aside}
}

// ScheduleSlots counts n slots of schedules with an outcome.
func (s *Set) ScheduleSlots(outcome string, n int64) {
	if s != nil {
		s.schedules.slots.WithLabelValues(outcome).Add(float64(n))
	}
}

// ScheduleLateness records how long after its instant a planned slot was written.
func (s *Set) ScheduleLateness(d time.Duration) {
	if s != nil {
		s.schedules.lateness.Observe(max(0, d.Seconds()))
	}
}

// SchedulesAside sets how many schedules are set aside.
func (s *Set) SchedulesAside(n int) {
	if s != nil {
		s.schedules.aside.Set(float64(n))
	}
}
