package events

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/taskweir/taskweir/internal/task"
	"github.com/taskweir/taskweir/internal/testkit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Redis that cannot be reached, forgets and trims when it is told to.
type memory struct {
	mu         sync.Mutex
	generation string
	young      time.Time
	entries    []Entry
	n          uint64
	gone       bool
}

var errGone = errors.New("gone")

func (m *memory) do(f func()) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.gone {
		return errGone
	}
	f()
	return nil
}

func (m *memory) Audience(context.Context) (g string, err error) {
	err = m.do(func() { g = m.generation })
	return g, err
}

func (m *memory) Append(_ context.Context, entries [][]byte, _ int64) error {
	return m.do(func() {
		for _, e := range entries {
			m.n++
			m.entries = append(m.entries, Entry{EntryID{uint64(time.Now().UnixMilli()), m.n}, e})
		}
	})
}

func (m *memory) Join(context.Context) (g string, fresh bool, err error) {
	err = m.do(func() {
		if m.generation == "" {
			m.n++
			m.generation, m.young = fmt.Sprintf("g%d", m.n), time.Now()
		}
		g, fresh = m.generation, time.Since(m.young) < 2500*time.Millisecond
	})
	return g, fresh, err
}

func (m *memory) Last(context.Context) (id EntryID, err error) {
	err = m.do(func() {
		if n := len(m.entries); n > 0 {
			id = m.entries[n-1].ID
		}
	})
	return id, err
}

func (m *memory) Read(_ context.Context, at EntryID, n int) (g string, out []Entry, err error) {
	err = m.do(func() {
		g = m.generation
		for _, e := range m.entries {
			if after(e.ID, at) && len(out) < n {
				out = append(out, e)
			}
		}
	})
	return g, out, err
}

func (m *memory) Holds(_ context.Context, at EntryID) (found Entry, ok bool, err error) {
	err = m.do(func() {
		for _, e := range m.entries {
			if e.ID == at {
				found, ok = e, true
			}
		}
	})
	return found, ok, err
}

func (m *memory) set(f func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f()
}

// encode writes "id task;" and "id reset;".
func encode(b []byte, id string, c *task.Change, n *Names) []byte {
	if c == nil {
		return fmt.Appendf(b, "%s reset;", id)
	}
	return fmt.Appendf(b, "%s %d;", id, c.TaskID)
}

func names(_ context.Context, app, lane, kind int32) (Names, error) {
	return Names{App: fmt.Sprint("app", app), Queue: fmt.Sprint("queue", lane), Kind: fmt.Sprint("kind", kind)}, nil
}

func newHub(m *memory) *Hub { return NewHub(Options{Source: m, Names: names, Encode: encode}) }

// world runs a test with a writer and a hub in a bubble.
func world(t *testing.T, f func(t *testing.T, m *memory, w *Writer, h *Hub)) {
	testkit.Bubble(t, func(t *testing.T) {
		m := &memory{}
		w := NewWriter(m, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { w.Run(ctx) })
		h := newHub(m)
		f(t, m, w, h)
		h.Close()
		cancel()
		wg.Wait()
	})
}

func change(id int64) task.Change {
	return task.Change{Type: task.ChangeEnded, State: task.Succeeded, TaskID: id, AppID: 1, LaneID: int32(id % 2), KindID: 1}
}

// hear collects for a while what a listener gets: the words before ";".
func hear(t *testing.T, l *Listener, d time.Duration) (words, ids []string) {
	t.Helper()
	end := time.Now().Add(d)
	for time.Now().Before(end) {
		out, err := l.Next(t.Context(), time.Until(end))
		if err != nil {
			t.Fatal(err)
		}
		for _, piece := range out {
			for part := range strings.SplitSeq(strings.TrimSuffix(string(piece), ";"), ";") {
				id, word, _ := strings.Cut(part, " ")
				words, ids = append(words, word), append(ids, id)
			}
		}
	}
	return words, ids
}

func listen(t *testing.T, h *Hub, f Filter, last string) *Listener {
	t.Helper()
	l, err := h.Listen(t.Context(), f, last)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func same(t *testing.T, got []string, want ...string) {
	t.Helper()
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Fatalf("got %v, want %v", got, want)
	}
}

func TestNobodyListensNobodyWrites(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		time.Sleep(3 * time.Second)
		if w.Listening() {
			t.Fatal("the writer wants changes that nobody reads")
		}
		w.Changed([]task.Change{change(1)})
		time.Sleep(time.Second)
		if len(m.entries) != 0 {
			t.Fatal("written although nobody listens")
		}
		l := listen(t, h, Filter{App: 1}, "")
		words, _ := hear(t, l, 3*time.Second)
		same(t, words, "reset") // from here on every writer tells
		w.Changed([]task.Change{change(2), change(3)})
		words, _ = hear(t, l, time.Second)
		same(t, words, "2", "3")
		l.Close()
		m.set(func() { m.generation = "" }) // its ten minutes are over
		time.Sleep(2 * time.Second)
		if w.Listening() {
			t.Fatal("the writer goes on")
		}
	})
}

func TestFiltersAndSharedTopics(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		all, odd, other, failed := listen(t, h, Filter{}, ""), listen(t, h, Filter{App: 1, Queue: "queue1"}, ""), listen(t, h, Filter{App: 2}, ""), listen(t, h, Filter{App: 1, Types: Failed}, "")
		again := listen(t, h, Filter{App: 1, Queue: "queue1"}, "")
		for _, l := range []*Listener{all, odd, other, failed, again} {
			hear(t, l, 3*time.Second)
		}
		bad := change(4)
		bad.State = task.Failed
		w.Changed([]task.Change{change(1), change(2), change(3), bad})
		for _, x := range []struct {
			l    *Listener
			want string
		}{{all, "1 2 3 4"}, {odd, "1 3"}, {again, "1 3"}, {other, ""}, {failed, "4"}} {
			words, _ := hear(t, x.l, time.Second)
			same(t, words, strings.Fields(x.want)...)
			x.l.Close()
		}
	})
}

// Whoever comes back with any id hears what came after it, once, wherever the hub that it comes to has been meanwhile.
func TestResumeAtEveryID(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		for i := range int64(12) {
			w.Changed([]task.Change{change(3 * i), change(3*i + 1), change(3*i + 2)})
			time.Sleep(60 * time.Millisecond)
		}
		words, ids := hear(t, l, time.Second)
		if len(words) != 36 {
			t.Fatal(words)
		}
		fresh := newHub(m)
		defer fresh.Close()
		for i, id := range ids {
			for _, h := range []*Hub{h, fresh} {
				back := listen(t, h, Filter{App: 1}, id)
				rest, restIDs := hear(t, back, 200*time.Millisecond)
				same(t, rest, words[i+1:]...)
				same(t, restIDs, ids[i+1:]...)
				back.Close()
			}
		}
		l.Close()
	})
}

func TestWhatIsUnknownBeginsWithAReset(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		w.Changed([]task.Change{change(1)})
		_, ids := hear(t, l, time.Second)
		for _, id := range []string{"x", "g1-1-1-1", "other" + ids[0], strings.Repeat("9", 200)} {
			back := listen(t, h, Filter{App: 1}, id)
			words, _ := hear(t, back, 100*time.Millisecond)
			same(t, words, "reset")
			back.Close()
		}
		m.set(func() { m.entries = nil }) // pushed out
		back := listen(t, h, Filter{App: 1}, ids[0])
		words, _ := hear(t, back, 100*time.Millisecond)
		same(t, words, "reset")
		back.Close()
		l.Close()
	})
}

func TestALostRedisIsSaidSo(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		l := listen(t, h, Filter{App: 1}, "")
		hear(t, l, 3*time.Second)
		w.Changed([]task.Change{change(0)})
		words, _ := hear(t, l, time.Second)
		same(t, words, "0")
		m.set(func() { m.gone = true })
		w.Changed([]task.Change{change(1)})
		words, _ = hear(t, l, 3*time.Second)
		same(t, words)
		if _, err := h.Listen(t.Context(), Filter{App: 1}, ""); task.CodeOf(err) != "live_view_unavailable" {
			t.Fatal(err)
		}
		m.set(func() { m.gone = false }) // with all that it had: the writer knows that something is missing
		words, _ = hear(t, l, 3*time.Second)
		same(t, words, "reset")
		w.Changed([]task.Change{change(2)})
		words, _ = hear(t, l, time.Second)
		same(t, words, "2")
		m.set(func() { m.generation, m.entries = "", nil }) // emptied
		words, _ = hear(t, l, 5*time.Second)
		if len(words) == 0 || words[len(words)-1] != "reset" {
			t.Fatal(words)
		}
		w.Changed([]task.Change{change(3)})
		words, _ = hear(t, l, time.Second)
		same(t, words, "3")
		l.Close()
	})
}

// A listener that does not come for what it is given holds nobody up, and is told.
func TestASlowListenerIsTold(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		slow, fast := listen(t, h, Filter{App: 1}, ""), listen(t, h, Filter{App: 1}, "")
		hear(t, fast, 3*time.Second)
		var got []string
		for i := range int64(3 * chunksKept) {
			w.Changed([]task.Change{change(i)})
			words, _ := hear(t, fast, 100*time.Millisecond)
			got = append(got, words...)
		}
		if len(got) != 3*chunksKept {
			t.Fatalf("the fast one got %d", len(got))
		}
		words, _ := hear(t, slow, time.Second)
		if words[0] != "reset" || words[len(words)-1] != fmt.Sprint(3*chunksKept-1) || len(words) != chunksKept+1 {
			t.Fatal(len(words), words[:2])
		}
		slow.Close()
		fast.Close()
	})
}

// Together they are not sent more than a process can: the greedy ones are told to ask for less, the others get theirs.
func TestTheGreedyDoNotStarveTheOthers(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		var greedy []*Listener
		for range 900 {
			greedy = append(greedy, listen(t, h, Filter{App: 1}, ""))
		}
		modest := listen(t, h, Filter{App: 1, Types: Failed}, "")
		hear(t, modest, 4*time.Second)
		hear(t, greedy[0], time.Millisecond)
		var list []task.Change
		for i := range int64(2000) {
			list = append(list, change(i))
		}
		bad := change(7)
		bad.State = task.Failed
		for range 10 {
			w.Changed(append(list, bad))
			time.Sleep(500 * time.Millisecond)
		}
		words, _ := hear(t, modest, 2*time.Second)
		same(t, words, strings.Fields(strings.Repeat("7 ", 10))...)
		words, _ = hear(t, greedy[0], time.Second)
		if len(words) == 0 || len(words) > 4 || words[0] != "reset" {
			t.Fatal(words)
		}
		for _, l := range append(greedy, modest) {
			l.Close()
		}
	})
}

// However many filters there are, what is kept for slow listeners is bounded in all.
func TestWhatIsKeptIsBounded(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, _ *Hub) {
		pad := strings.Repeat("x", 160)
		h := NewHub(Options{Source: m, Names: names, Encode: func(b []byte, id string, c *task.Change, n *Names) []byte {
			return append(encode(b, id, c, n), pad...)
		}})
		defer h.Close()
		var all []*Listener
		for types := Types(1); types <= AllTypes; types++ {
			for _, f := range []Filter{{Types: types}, {App: 1, Types: types}, {App: 1, Kind: "kind1", Types: types}, {Kind: "kind1", Types: types}} {
				f.Types |= Succeeded
				all = append(all, listen(t, h, f, ""))
			}
		}
		time.Sleep(3 * time.Second)
		most := 0
		for range 2 * chunksKept {
			list := make([]task.Change, 100)
			for i := range list {
				list[i] = change(int64(i))
			}
			w.Changed(list)
			time.Sleep(period(len(all)))
			h.mu.Lock()
			kept := 0
			for _, t := range h.topics {
				for _, c := range t.chunks {
					kept += len(c.data)
				}
			}
			h.mu.Unlock()
			most = max(most, kept)
		}
		if most > bytesTotal || most < bytesTotal/2 {
			t.Fatalf("%d topics keep %d bytes", len(h.topics), most)
		}
		for _, l := range all {
			l.Close()
		}
	})
}

func TestBounds(t *testing.T) {
	world(t, func(t *testing.T, m *memory, w *Writer, h *Hub) {
		small := NewHub(Options{Source: m, Names: names, Encode: encode, MaxListeners: 2})
		a, b := listen(t, small, Filter{App: 1}, ""), listen(t, small, Filter{App: 2}, "")
		if _, err := small.Listen(t.Context(), Filter{}, ""); task.CodeOf(err) != "too_many_streams" {
			t.Fatal(err)
		}
		a.Close()
		a.Close()
		c := listen(t, small, Filter{}, "")
		time.Sleep(3 * time.Second)
		m.set(func() { m.gone = true }) // the writer's memory is bounded
		for i := range int64(300_000) {
			w.Changed([]task.Change{change(i * 1_000_003)})
		}
		w.mu.Lock()
		waiting := len(w.full)
		w.mu.Unlock()
		if waiting > waitingMost {
			t.Fatal(waiting)
		}
		done := make(chan error, 1)
		go func() {
			for {
				if _, err := c.Next(context.Background(), time.Hour); err != nil {
					done <- err
					return
				}
			}
		}()
		time.Sleep(time.Second)
		small.Close()
		if err := <-done; !errors.Is(err, ErrEnded) {
			t.Fatal(err)
		}
		if _, err := small.Listen(t.Context(), Filter{}, ""); err == nil {
			t.Fatal("a closed hub takes listeners")
		}
		b.Close()
		c.Close()
	})
}

// One who comes while the last one leaves is let in.
func TestComingAndGoing(t *testing.T) {
	h := newHub(&memory{})
	defer h.Close()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 2_000 {
				l, err := h.Listen(t.Context(), Filter{App: 1}, "")
				if err != nil {
					t.Error(err)
					return
				}
				l.Close()
			}
		})
	}
	all.Wait()
	if n := h.Listeners(); n != 0 {
		t.Fatalf("%d listen", n)
	}
}
