package events

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/task"
)

// mortal is a stream whose writer is killed: from then on nothing of it arrives, and nobody hears why.
type mortal struct {
	*memory
	dead atomic.Bool
}

func (s *mortal) Append(ctx context.Context, entries [][]byte, keep int64) error {
	if s.dead.Load() {
		return nil
	}
	return s.memory.Append(ctx, entries, keep)
}

// process is a further writer. die kills it, or (gently) ends it.
func process(t *testing.T, m *memory) (w *Writer, s *mortal, end func()) {
	s = &mortal{memory: m}
	w = NewWriter(s, slog.New(slog.DiscardHandler))
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { w.Run(ctx) })
	return w, s, func() { cancel(); wg.Wait() }
}

// A process that is killed takes events with it that it had not written yet: who listens is told, who comes back too, wherever and
// whenever; and once is enough.
func TestWhoIsKilledIsMissed(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		other, stream, end := process(t, m)
		other.Changed([]task.Change{change(1)})
		words, ids := hear(t, l, 3*time.Second)
		same(t, words, "1")
		stream.dead.Store(true)
		other.Changed([]task.Change{change(2)}) // nobody will ever hear of it

		soon := newHub(m) // another process, and a client that comes there at once
		defer soon.Close()
		back := listen(t, soon, Filter{App: 1}, ids[0])
		words, _ = hear(t, back, 10*time.Second)
		same(t, words, "reset")
		back.Close()
		words, _ = hear(t, l, time.Second)
		same(t, words, "reset")
		w.Changed([]task.Change{change(3)})
		time.Sleep(30 * time.Second)
		late := newHub(m) // and one that comes when the dead is long forgotten
		defer late.Close()
		back = listen(t, late, Filter{App: 1}, ids[0])
		words, _ = hear(t, back, 10*time.Second)
		same(t, words, "3", "reset")
		back.Close()
		words, _ = hear(t, l, time.Second)
		same(t, words, "3")
		l.Close()
		end()
	})
}

// Silence is no death, and neither is a proper end.
func TestWhoLivesOrEndsIsNotMissed(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		other, _, end := process(t, m)
		_, _, endSilent := process(t, m) // never has anything to tell
		other.Changed([]task.Change{change(1)})
		words, ids := hear(t, l, time.Minute)
		same(t, words, "1")
		other.Changed([]task.Change{change(2)})
		end() // with its last words
		endSilent()
		words, _ = hear(t, l, time.Minute)
		same(t, words, "2")
		back := listen(t, h, Filter{App: 1}, ids[0])
		words, _ = hear(t, back, time.Minute)
		same(t, words, "2")
		back.Close()
		l.Close()
	})
}

// A Redis that takes the place of another may lack what that one had accepted.
func TestWhatRedisLosesIsMissed(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		other, stream, end := process(t, m)
		other.Changed([]task.Change{change(1)})
		_, ids := hear(t, l, time.Second)
		stream.dead.Store(true)
		other.Changed([]task.Change{change(2)})
		time.Sleep(time.Second)
		stream.dead.Store(false)
		other.Changed([]task.Change{change(3)})
		words, _ := hear(t, l, 10*time.Second)
		same(t, words, "reset", "3")
		back := listen(t, h, Filter{App: 1}, ids[0])
		words, _ = hear(t, back, 10*time.Second)
		same(t, words, "reset", "3")
		back.Close()
		l.Close()
		end()
	})
}

// Redis may come after everybody else: nobody can listen before, and from then on everything is as ever.
func TestRedisComesLate(t *testing.T) {
	world(t, func(t *testing.T, m *memory, _ *Writer, h *Hub) {
		m.set(func() { m.gone = true })
		w, _, end := process(t, m) // one that has never seen it
		time.Sleep(5 * time.Second)
		if w.Listening() {
			t.Fatal("it gathers what nobody may ever read")
		}
		for range 3 {
			if _, err := h.Listen(t.Context(), Filter{App: 1}, "g1-1-1-1"); task.CodeOf(err) != "live_view_unavailable" {
				t.Fatal(err)
			}
		}
		if n := h.Listeners(); n != 0 {
			t.Fatalf("%d listen", n)
		}
		m.set(func() { m.gone = false })
		l := listen(t, h, Filter{App: 1}, "")
		words, _ := hear(t, l, 4*time.Second)
		if len(words) == 0 || words[len(words)-1] != "reset" {
			t.Fatal(words)
		}
		w.Changed([]task.Change{change(1)})
		words, _ = hear(t, l, time.Second)
		same(t, words, "1")
		l.Close()
		end()
	})
}
