package worker

import (
	"bytes"
	"context"
	"math/rand/v2"
	"testing"

	"github.com/taskweir/taskweir/internal/rdb"
	"github.com/taskweir/taskweir/internal/task"
)

// Against a model that keeps everything: from any place, what is given is what was written there, up to the end and as far back
// as 64 KiB, with never more memory than twice that.
func TestOutputKeepsTheLastOfWhatWasWritten(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 60 {
		var o output
		var all []byte
		for range 40 {
			p := make([]byte, []int{0, 1, 100, 5_000, task.MaxLog - 1, task.MaxLog, task.MaxLog + 1, 3 * task.MaxLog}[r.IntN(8)]/(1+r.IntN(3)))
			for i := range p {
				p[i] = byte(r.Uint32()) // any bytes, zeros and broken UTF-8 too
			}
			o.write(p)
			all = append(all, p...)
			clear(p) // whoever writes may use it again
			total := int64(len(all))
			first := max(0, total-task.MaxLog)
			for _, at := range []int64{-5, 0, first - 1, first, first + 1, total - 1, total, total + 1, total + 1<<40, r.Int64N(total + 1)} {
				log, from, size := o.from(at)
				want := min(max(at, first), total)
				if from != want || size != total || !bytes.Equal(log, all[want:]) {
					t.Fatalf("from %d of %d: %d bytes from %d of %d, want from %d", at, total, len(log), from, size, want)
				}
			}
			if len(o.buf) > 2*task.MaxLog || cap(o.buf) > 4*task.MaxLog {
				t.Fatalf("%d bytes in %d are kept", len(o.buf), cap(o.buf))
			}
		}
	}
}

// What was written is the attempt's log when its runner gives none; where the log begins in it is always said.
func TestWhatIsKeptOfTheOutput(t *testing.T) {
	long := bytes.Repeat([]byte("0123456789abcdef"), task.MaxLog/16+5) // 80 bytes too many
	for _, x := range []struct {
		name          string
		written, gave []byte
		log           []byte
		skipped       int64
	}{
		{"nothing", nil, nil, nil, 0},
		{"written", []byte("a\x00\xff"), nil, []byte("a\x00\xff"), 0},
		{"too much written", long, nil, long[80:], 80},
		{"given", nil, []byte("log"), []byte("log"), 0},
		{"given the end of what was written", []byte("all of it"), []byte("of it"), []byte("of it"), 4},
		{"given other than written", []byte("a"), []byte("much more"), []byte("much more"), 0},
		{"given nothing although written", []byte("abc"), []byte{}, nil, 3},
	} {
		var r run
		Job{run: &r}.Output(x.written)
		res := task.Result{Log: x.gave}
		r.keepOutput(&res)
		if !bytes.Equal(res.Log, x.log) || r.end.LogSkipped != x.skipped {
			t.Errorf("%s: %d bytes, %d skipped, want %d and %d", x.name, len(res.Log), r.end.LogSkipped, len(x.log), x.skipped)
		}
	}
	Job{}.Output([]byte("no attempt: nothing to keep it for"))
}

// Who peeks sees what the attempt wrote from the place that it asks for, byte for byte, and not that of another epoch, of another
// worker's attempt or of one that ended.
func TestPeekAtARunningAttempt(t *testing.T) {
	onRedis(t, func(t *testing.T, client func() *rdb.Client) {
		asker, live := client(), client()
		binary := []byte{0, 1, 2, 0xff, 0xfe, '\n', '\r', '"', '<'}
		more, wrote, release := make(chan []byte), make(chan struct{}), make(chan struct{})
		store := newFakeStore()
		r := start(t, store, runners{"k": func(_ context.Context, j Job) task.Result {
			j.Output(binary)
			for p := range more {
				j.Output(p)
				wrote <- struct{}{}
			}
			<-release
			return task.Result{Outcome: task.OutcomeSucceeded}
		}}, func(o *Options) { o.Live = live })
		rung := store.add(1, spec{kind: "k"})
		r.bus.Ring(rung)
		id := rung.TaskIDs[0]
		var d task.LiveDetail
		eventually(t, "it wrote", func() bool {
			var err error
			d, err = asker.Peek(t.Context(), r.e.workerID(), id, 1, 0)
			return err == nil && len(d.Log) > 0
		})
		if !bytes.Equal(d.Log, binary) || d.LogFrom != 0 || d.LogSize != int64(len(binary)) || d.Gone || d.Epoch != 1 || len(d.Goroutines) > 0 {
			t.Errorf("%+v", d)
		}
		peek := func(epoch int32, from int64) task.LiveDetail {
			t.Helper()
			d, err := asker.Peek(t.Context(), r.e.workerID(), id, epoch, from)
			if err != nil {
				t.Fatal(err)
			}
			return d
		}
		if d := peek(1, 3); !bytes.Equal(d.Log, binary[3:]) || d.LogFrom != 3 {
			t.Errorf("%+v", d)
		}
		if d := peek(1, 1<<50); len(d.Log) != 0 || d.LogFrom != int64(len(binary)) {
			t.Errorf("beyond the end: %+v", d)
		}
		if d := peek(1, -1); len(d.Log) != 0 || d.LogSize != 0 || d.Gone {
			t.Errorf("without the log: %+v", d)
		}
		if d := peek(2, 0); !d.Gone || len(d.Log) != 0 {
			t.Errorf("another epoch: %+v", d)
		}
		huge := bytes.Repeat([]byte("\x00\xff\x01é"), 300<<10) // 1.5 MB
		more <- huge
		<-wrote
		total := int64(len(binary) + len(huge))
		if d := peek(1, 0); d.LogSize != total || d.LogFrom != total-task.MaxLog || !bytes.Equal(d.Log, huge[len(huge)-task.MaxLog:]) {
			t.Errorf("%d bytes from %d of %d", len(d.Log), d.LogFrom, d.LogSize)
		}
		close(more)
		close(release)
		eventually(t, "it ended", func() bool { return store.get(id).State == task.Succeeded })
		if d := peek(1, 0); !d.Gone || len(d.Log) != 0 {
			t.Errorf("after its end: %+v", d)
		}
		r.stop()
	})
}
