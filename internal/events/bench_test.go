package events

import (
	"context"
	"testing"

	"github.com/taskweir/taskweir/internal/task"
)

// dense is what a second of 5,000 tasks of 50 queues leaves in the stream, as several processes write it: in rows of a batch.
func dense() (entries []Entry) {
	for n := range 100 {
		b, last := appendHead(nil, false), task.Change{}
		for i := range 150 {
			c := task.Change{Type: task.ChangeEnded, State: task.Succeeded, Outcome: task.OutcomeSucceeded, Epoch: 1, AppID: 7, LaneID: int32(n % 50), KindID: 9,
				TaskID: int64(n*1000 + i), WorkerID: 5, At: 1_700_000_000_000 + int64(i/50)}
			b = appendChange(b, &c, &last)
			last = c
		}
		entries = append(entries, Entry{EntryID{uint64(n + 1), 0}, b})
	}
	return entries
}

// What the reader does for a second of events, without its listeners' share.
func BenchmarkDeal(b *testing.B) {
	for name, filters := range map[string][]Filter{
		"failed":     {{App: 7, Types: Failed}},
		"everything": {{App: 7, Types: AllTypes}},
		"by queue": func() (out []Filter) {
			for i := range int32(50) {
				n, _ := names(context.Background(), 7, i, 9)
				out = append(out, Filter{App: 7, Queue: n.Queue, Types: AllTypes})
			}
			return out
		}(),
	} {
		b.Run(name, func(b *testing.B) {
			entries := dense()
			h := NewHub(Options{Source: &memory{}, Names: names, Encode: encode})
			r := &hubReader{h: h, log: h.o.Logger, heard: heard{}}
			for _, f := range filters {
				h.topics[f] = &topic{filter: f, listeners: 1000 / len(filters), wake: make(chan struct{})}
				h.listeners += h.topics[f].listeners
			}
			b.ReportAllocs()
			for b.Loop() {
				r.deal(b.Context(), entries)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/15_000, "ns/event")
		})
	}
}

// What a commit pays while somebody listens.
func BenchmarkChanged(b *testing.B) {
	w := NewWriter(&memory{}, nil)
	list := make([]task.Change, 100)
	for i := range list {
		list[i] = task.Change{Type: task.ChangeEnded, State: task.Succeeded, Outcome: task.OutcomeSucceeded, Epoch: 1, AppID: 7, LaneID: 3, KindID: 9, TaskID: int64(i), WorkerID: 5, At: 1_700_000_000_000}
	}
	b.ReportAllocs()
	for b.Loop() {
		w.Changed(list)
		if len(w.full) > 100 {
			w.take()
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/100, "ns/event")
}
