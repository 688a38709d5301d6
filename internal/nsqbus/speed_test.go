package nsqbus_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/worker"
)

// The latency that the promise "submit → start p99 ≤ 6 ms" has for the bus: an idle broker passes a bell on in less than a
// millisecond or two. The bound here is wide, because tests share the machine; the log tells the figure.
func TestLatencyAtASteadyPace(t *testing.T) {
	environments(t, func(t *testing.T, nsqd []string) {
		b, l := open(t, nsqd, nil), lane()
		lat := measure(t, b, l, 250, 250)
		t.Logf("publish → handler at 250/s: p50 %s, p99 %s, max %s", lat[len(lat)/2], lat[len(lat)*99/100], lat[len(lat)-1])
		if lat[len(lat)/2] > 5*time.Millisecond {
			t.Errorf("p50 %s: output buffering is on?", lat[len(lat)/2])
		}
	})
}

// measure publishes n bells at a pace per second and gives the sorted latencies.
func measure(t testing.TB, b bus, l task.Lane, n, pace int) []time.Duration {
	sent := make([]atomic.Int64, n+1)
	var mu sync.Mutex // each connection has a goroutine of its own
	lat := make([]time.Duration, 0, n)
	start := time.Now()
	done := make(chan struct{})
	in, err := b.src.Open(l, func(d worker.Delivery) {
		if id := d.Rung().ID; id <= int64(n) {
			mu.Lock()
			defer mu.Unlock()
			lat = append(lat, time.Since(start)-time.Duration(sent[id].Load()))
			if len(lat) == n {
				close(done)
			}
		}
		go d.Finish()
	})
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	in.SetReady(64)
	time.Sleep(200 * time.Millisecond) // let it subscribe, so that the first bells are not measured with it
	tick := time.NewTicker(time.Second / time.Duration(pace))
	defer tick.Stop()
	for id := 1; id <= n; id++ {
		<-tick.C
		sent[id].Store(int64(time.Since(start)))
		b.publish(t, l, bell(l, int64(id)))
	}
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("bells are missing")
	}
	slices.Sort(lat)
	return lat
}

// BenchmarkBatches passes messages of 100 tasks with 200-byte bodies through nsqd, 8 to an MPUB.
func BenchmarkBatches(b *testing.B) { throughput(b, 8, 100, 2) }

// BenchmarkSingles passes messages of one task, published one by one from 64 callers.
func BenchmarkSingles(b *testing.B) { throughput(b, 1, 1, 64) }

func throughput(b *testing.B, rungs, tasks, callers int) {
	bs, l := open(b, []string{embedded(b, b.TempDir(), "").TCPAddr()}, nil), lane()
	var got atomic.Int64
	want := int64(b.N)
	done := make(chan struct{})
	in, err := bs.src.Open(l, func(d worker.Delivery) {
		if got.Add(1) == want {
			close(done)
		}
		go d.Finish()
	})
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	in.SetReady(64)
	r := task.Rung{Bell: task.Bell{ID: 1, LaneID: l.ID}}
	for i := range int64(tasks) {
		r.TaskIDs = append(r.TaskIDs, i)
		r.Items = append(r.Items, task.Item{ID: i, Body: make([]byte, 200)})
	}
	b.ResetTimer()
	var left atomic.Int64
	left.Store(want)
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for {
				n := min(int64(rungs), left.Add(-int64(rungs))+int64(rungs))
				if n <= 0 {
					return
				}
				part := make([]task.Rung, n)
				for i := range part {
					part[i] = r
				}
				if err := bs.pub.Publish(context.Background(), l, part); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	<-done
	b.ReportMetric(float64(want)*float64(tasks)/b.Elapsed().Seconds(), "tasks/s")
	b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "messages/s")
}
