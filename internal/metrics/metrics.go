// Package metrics names every metric of Taskweir in one place (spec/v1 "Operations") and is the only importer of the
// Prometheus client. No label has unbounded values: queue is bounded by the number of queues, outcome and stage are
// closed lists. A nil *Set is valid and records nothing, so that tests and embedders need none.
package metrics

import (
	"net/http"
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Set is the metrics of one process.
type Set struct {
	registry *prometheus.Registry

	submitted   prometheus.Counter
	finished    *prometheus.CounterVec
	retried     prometheus.Counter
	lost        prometheus.Counter
	oldestDue   *prometheus.GaugeVec
	slotsNeeded *prometheus.GaugeVec
	slots, busy prometheus.Gauge
	zombies     prometheus.Gauge
	lateness    prometheus.Histogram
	pickup      prometheus.Histogram
	unclaimed   prometheus.Gauge
	flush       *prometheus.HistogramVec
	callback    *prometheus.HistogramVec
	rerung      prometheus.Counter
	mended      prometheus.Counter
	fenced      prometheus.Counter
	breaker     *prometheus.GaugeVec
	schedules   schedules
}

// New makes the metrics of a process with its own registry.
func New(version string) *Set {
	fast := []float64{.0005, .001, .002, .004, .006, .01, .02, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	s := &Set{
		registry:    prometheus.NewRegistry(),
		submitted:   counter("taskweir_tasks_submitted_total", "Tasks accepted."),
		finished:    prometheus.NewCounterVec(opts("taskweir_tasks_finished_total", "Attempts ended, by outcome."), []string{"queue", "outcome"}),
		retried:     counter("taskweir_tasks_retried_total", "Attempts that ended in another try by the task's retry policy."),
		lost:        counter("taskweir_tasks_lost_total", "Running tasks taken from dead workers."),
		oldestDue:   prometheus.NewGaugeVec(gopts("taskweir_queue_oldest_due_seconds", "Age of the oldest due task of a queue."), []string{"queue"}),
		slotsNeeded: prometheus.NewGaugeVec(gopts("taskweir_queue_slots_needed", "Slots that a queue's due and running tasks would use at once."), []string{"queue"}),
		slots:       prometheus.NewGauge(gopts("taskweir_worker_slots", "Slots of this worker.")),
		busy:        prometheus.NewGauge(gopts("taskweir_worker_slots_busy", "Slots in use, zombies included.")),
		zombies:     prometheus.NewGauge(gopts("taskweir_worker_zombies", "Handlers that ignored cancel or timeout and still run.")),
		lateness:    histogram("taskweir_promote_lateness_seconds", "How late due bells of delayed tasks were published.", fast),
		pickup:      histogram("taskweir_pickup_seconds", "Due time to start of a task.", fast),
		unclaimed:   prometheus.NewGauge(gopts("taskweir_unclaimed_age_seconds", "Age of the oldest bell that was rung and not claimed.")),
		flush:       prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "taskweir_flush_size", Help: "Tasks per transaction.", Buckets: []float64{1, 2, 5, 10, 20, 50, 100, 200, 500}}, []string{"stage"}),
		callback:    prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "taskweir_callback_seconds", Help: "Outgoing HTTP calls.", Buckets: fast}, []string{"outcome"}),
		rerung:      counter("taskweir_bells_rerung_total", "Bells published again because nobody had claimed them."),
		mended:      counter("taskweir_audit_mended_total", "Tasks that the audit walk had to mend. Anything but 0 is worth a look."),
		fenced:      counter("taskweir_results_fenced_total", "Results dropped because the task had gone to another attempt."),
		breaker:     prometheus.NewGaugeVec(gopts("taskweir_breaker_state", "Endpoints of outgoing calls whose circuit breaker is in a state."), []string{"state"}),
	}
	s.breaker.WithLabelValues("open").Set(0)
	s.breaker.WithLabelValues("half_open").Set(0)
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "taskweir_build_info", Help: "1, with the version as labels.",
		ConstLabels: prometheus.Labels{"version": version, "go": runtime.Version()}})
	build.Set(1)
	s.schedules = newSchedules()
	s.registry.MustRegister(s.schedules.collectors()...)
	s.registry.MustRegister(s.submitted, s.finished, s.retried, s.lost, s.oldestDue, s.slotsNeeded, s.slots, s.busy, s.zombies,
		s.lateness, s.pickup, s.unclaimed, s.flush, s.callback, s.rerung, s.mended, s.fenced, s.breaker, build,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return s
}

func opts(name, help string) prometheus.CounterOpts {
	return prometheus.CounterOpts{Name: name, Help: help}
}

func gopts(name, help string) prometheus.GaugeOpts {
	return prometheus.GaugeOpts{Name: name, Help: help}
}

func counter(name, help string) prometheus.Counter { return prometheus.NewCounter(opts(name, help)) }

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return prometheus.NewHistogram(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets})
}

// Handler serves the metrics in the Prometheus text format.
func (s *Set) Handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{Registry: s.registry})
}

// Submitted counts n accepted tasks.
func (s *Set) Submitted(n int) {
	if s != nil {
		s.submitted.Add(float64(n))
	}
}

// Finished counts n attempts of a queue that ended with an outcome.
func (s *Set) Finished(queue, outcome string, n int) {
	if s != nil {
		s.finished.WithLabelValues(queue, outcome).Add(float64(n))
	}
}

// Retried counts n attempts that ended in a retry.
func (s *Set) Retried(n int) {
	if s != nil {
		s.retried.Add(float64(n))
	}
}

// Lost counts n tasks taken from dead workers.
func (s *Set) Lost(n int) {
	if s != nil {
		s.lost.Add(float64(n))
	}
}

// Queue sets what autoscalers read of a queue.
func (s *Set) Queue(queue string, oldestDue time.Duration, slotsNeeded int) {
	if s != nil {
		s.oldestDue.WithLabelValues(queue).Set(oldestDue.Seconds())
		s.slotsNeeded.WithLabelValues(queue).Set(float64(slotsNeeded))
	}
}

// QueueGone takes away what Queue showed of a queue: another process shows it now.
func (s *Set) QueueGone(queue string) {
	if s != nil {
		s.oldestDue.DeleteLabelValues(queue)
		s.slotsNeeded.DeleteLabelValues(queue)
	}
}

// Slots sets how many slots the worker has, how many are in use and how many of those by zombies.
func (s *Set) Slots(total, busy, zombies int) {
	if s != nil {
		s.slots.Set(float64(total))
		s.busy.Set(float64(busy))
		s.zombies.Set(float64(zombies))
	}
}

// Lateness records how late a bell of delayed tasks was published.
func (s *Set) Lateness(d time.Duration) {
	if s != nil {
		s.lateness.Observe(max(0, d.Seconds()))
	}
}

// Pickup records the time from due to start, once per bell.
func (s *Set) Pickup(d time.Duration) {
	if s != nil {
		s.pickup.Observe(max(0, d.Seconds()))
	}
}

// Unclaimed sets the age of the oldest rung and unclaimed bell.
func (s *Set) Unclaimed(d time.Duration) {
	if s != nil {
		s.unclaimed.Set(d.Seconds())
	}
}

// Flush records the size of one transaction. stage is submit, claim or finish.
func (s *Set) Flush(stage string, tasks int) {
	if s != nil {
		s.flush.WithLabelValues(stage).Observe(float64(tasks))
	}
}

// Callback records one outgoing call. outcome is ok, refused, retryable or permanent.
func (s *Set) Callback(outcome string, d time.Duration) {
	if s != nil {
		s.callback.WithLabelValues(outcome).Observe(d.Seconds())
	}
}

// Rerung counts n bells published again.
func (s *Set) Rerung(n int) {
	if s != nil {
		s.rerung.Add(float64(n))
	}
}

// Mended counts n tasks mended by the audit walk.
func (s *Set) Mended(n int) {
	if s != nil {
		s.mended.Add(float64(n))
	}
}

// Fenced counts n results that were dropped.
func (s *Set) Fenced(n int) {
	if s != nil {
		s.fenced.Add(float64(n))
	}
}

// Breaker moves one endpoint from a state to another: closed (which is not counted: it is that of nearly all), open or
// half_open.
func (s *Set) Breaker(from, to string) {
	if s == nil {
		return
	}
	if from != "closed" {
		s.breaker.WithLabelValues(from).Dec()
	}
	if to != "closed" {
		s.breaker.WithLabelValues(to).Inc()
	}
}
