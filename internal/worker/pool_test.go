package worker

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// poolTest is a pool whose runs return when they are told to.
type poolTest struct {
	pool
	short  atomic.Bool // what is said of the processors
	mu     sync.Mutex
	begins []int32             // slots of the runs, in the order in which they began
	ends   map[int32]chan bool // true: the run ends its goroutine
	all    sync.WaitGroup      // goroutines
	last   map[*hand]int       // runs of each goroutine
}

// newTightPool is a pool whose processors are short, and which knows it.
func newTightPool(width int) *poolTest {
	p := newPoolTest(width)
	p.tight = true
	p.short.Store(true)
	return p
}

func newPoolTest(width int) *poolTest {
	p := &poolTest{ends: map[int32]chan bool{}, last: map[*hand]int{}}
	p.init(newMono(), func(r *run, h *hand) {
		p.all.Add(1)
		defer p.all.Done()
		p.loops(r, h)
	})
	p.width, p.crowded = width, p.short.Load
	return p
}

func (p *poolTest) loops(r *run, h *hand) {
	for r != nil {
		p.mu.Lock()
		p.begins = append(p.begins, r.slot)
		p.last[h]++
		end := p.ends[r.slot]
		p.mu.Unlock()
		if <-end {
			p.lost(r)
			return
		}
		p.back(r, h)
		r = <-h.work
	}
}

// gives gives that many runs, numbered from the first on.
func (p *poolTest) gives(first, n int32) {
	for i := first; i < first+n; i++ {
		p.mu.Lock()
		p.ends[i] = make(chan bool, 1)
		p.mu.Unlock()
		p.give(&run{slot: i})
	}
}

// began is how many runs have begun, once everything rests.
func (p *poolTest) began() int {
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.begins)
}

func (p *poolTest) goroutines() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.last)
}

// returns lets runs return.
func (p *poolTest) returns(first, n int32) {
	for i := first; i < first+n; i++ {
		p.mu.Lock()
		end := p.ends[i]
		p.mu.Unlock()
		end <- false
	}
}

// close ends the pool and waits for its goroutines; it hangs when one is left.
func (p *poolTest) close() {
	p.end()
	p.began() // what still waited
	p.mu.Lock()
	for _, end := range p.ends {
		select {
		case end <- false:
		default:
		}
	}
	p.mu.Unlock()
	p.all.Wait()
}

func TestCrowdedPoolBeginsARunWhenOneReturns(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(4)
		defer p.close()
		p.gives(0, 10)
		if n := p.began(); n != 4 {
			t.Fatalf("%d runs began at once, want 4", n)
		}
		time.Sleep(freshFor - time.Millisecond)
		if n := p.began(); n != 4 {
			t.Fatalf("%d runs began although none returned, want 4", n)
		}
		p.returns(0, 3)
		if n := p.began(); n != 7 {
			t.Fatalf("%d runs began after three returned, want 7", n)
		}
		if n := p.goroutines(); n != 4 {
			t.Errorf("%d goroutines, want the 4 that were there", n)
		}
		p.returns(3, 7)
		if n := p.began(); n != 10 {
			t.Fatalf("%d runs began, want all 10", n)
		}
		for _, wave := range [][]int32{p.begins[:4], p.begins[4:7], p.begins[7:]} {
			slices.Sort(wave) // they run side by side
		}
		if !slices.IsSorted(p.begins) {
			t.Errorf("runs began in another order than they came: %v", p.begins)
		}
	})
}

func TestRunsThatTakeLongHoldNobodyUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(4)
		defer p.close()
		p.gives(0, 10)
		for _, want := range []int{4, 8, 10} {
			if n := p.began(); n != want {
				t.Fatalf("%d runs began, want %d", n, want)
			}
			time.Sleep(freshFor + poolLook)
		}
	})
}

func TestPoolWithProcessorsToSpareBeginsAll(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPoolTest(4)
		defer p.close()
		for i := range int32(5) {
			p.gives(10*i, 10)
			if n := p.began(); n != int(10*i+10) {
				t.Fatalf("%d runs began at once, want all %d", n, 10*i+10)
			}
			time.Sleep(poolLook)
		}
	})
}

func TestPoolBecomesTightWhenProcessorsAreShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPoolTest(4)
		defer p.close()
		p.short.Store(true)
		p.gives(0, 4)
		time.Sleep(poolLook)
		p.gives(4, 6) // more than the width: it is looked at
		if n := p.began(); n != 10 {
			t.Fatalf("%d runs began before anything was known, want all 10", n)
		}
		time.Sleep(poolLook + time.Microsecond)
		p.gives(10, 5)
		if n := p.began(); n != 10 {
			t.Fatalf("%d runs began while 10 were fresh, want no more", n)
		}
		p.returns(0, 8)
		if n := p.began(); n != 12 {
			t.Fatalf("%d runs began, want 12: two that are fresh have room for two", n)
		}
	})
}

// TestPoolIsTightForATry: many that begin at once wait for each other; that processors are free is seen while it is tight, and believed
// for the longer the more often it was so.
func TestPoolIsTightForATry(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPoolTest(4)
		defer p.close()
		number := int32(0)
		burst := func() (at int) {
			p.gives(number, 10)
			at, number = p.began(), number+10
			return at
		}
		for _, pause := range []time.Duration{calmLeast, 2 * calmLeast, 4 * calmLeast, 8 * calmLeast, calmMost, calmMost} {
			p.short.Store(true) // as it seems when many begin
			if n := burst(); n != int(number) {
				t.Fatalf("%d of %d runs began", n, number)
			}
			time.Sleep(poolLook + time.Microsecond)
			p.short.Store(false)
			if n := burst(); n == int(number) {
				t.Fatal("it did not become tight")
			}
			time.Sleep(poolCalm * poolLook)
			if n := p.began(); n != int(number) {
				t.Fatalf("%d of %d runs began after %d calm looks", n, number, poolCalm)
			}
			p.short.Store(true)
			for end := time.Now().Add(pause - freshFor); time.Now().Before(end); time.Sleep(freshFor) {
				if n := burst(); n != int(number) {
					t.Fatalf("%d of %d runs began within %v of calm", n, number, pause)
				}
			}
			time.Sleep(2 * freshFor)
		}
	})
}

func TestPoolStaysTightWhileProcessorsAreShort(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(4)
		defer p.close()
		p.gives(0, 10)
		time.Sleep(poolLook / 2) // between the looks
		for range 2 {            // a calm one among others says nothing
			p.short.Store(false)
			time.Sleep(poolLook)
			p.short.Store(true)
			time.Sleep(poolLook)
		}
		if n := p.began(); n != 4 {
			t.Errorf("%d runs began, want 4", n)
		}
	})
}

// TestFreshnessEndsOnce: a run that took long and returns gives its place back once only.
func TestFreshnessEndsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(2)
		defer p.close()
		p.gives(0, 4)
		p.began()
		time.Sleep(freshFor + poolLook)
		p.gives(4, 4)
		if n := p.began(); n != 4 {
			t.Fatalf("%d runs began, want 4: two that take long, two that are fresh", n)
		}
		p.returns(0, 2)
		if n := p.began(); n != 4 {
			t.Fatalf("%d runs began after two returned that held no place, want 4", n)
		}
		p.returns(2, 2)
		if n := p.began(); n != 6 {
			t.Fatalf("%d runs began after two fresh ones returned, want 6", n)
		}
		p.close()
		if p.fresh != 0 || p.begun.len() != 0 {
			t.Errorf("%d runs are fresh and %d remembered although all have returned", p.fresh, p.begun.len())
		}
	})
}

func TestARunThatEndsItsGoroutineGivesItsPlaceUp(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(2)
		defer p.close()
		p.gives(0, 4)
		p.began()
		p.ends[0] <- true
		p.ends[1] <- true
		if n := p.began(); n != 4 {
			t.Fatalf("%d runs began, want 4", n)
		}
	})
}

func TestPoolKeepsGoroutinesAndTrimsTheIdle(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPoolTest(100)
		defer p.close()
		for range 5 {
			p.gives(0, 8)
			p.began()
			p.returns(0, 8)
			p.began()
		}
		if n := p.goroutines(); n != 8 {
			t.Fatalf("%d goroutines for 8 runs at a time, want 8", n)
		}
		p.trim() // counts from here on
		p.gives(0, 2)
		p.began()
		p.returns(0, 2)
		p.began()
		p.trim()
		synctest.Wait()
		p.mu.Lock()
		idle := len(p.idle)
		p.mu.Unlock()
		if idle != 5 {
			t.Errorf("%d idle goroutines, want 5: half of the 6 that had nothing to do have gone", idle)
		}
	})
}

func TestEndBeginsWhatWaits(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newTightPool(2)
		defer p.close()
		p.gives(0, 9)
		if n := p.began(); n != 2 {
			t.Fatalf("%d runs began, want 2", n)
		}
		p.end()
		if n := p.began(); n != 9 {
			t.Errorf("%d runs began at the end of the pool, want all 9", n)
		}
		p.close()
		p.gives(9, 1) // by a claim that was under way
		if n := p.began(); n != 10 {
			t.Errorf("%d runs began, want the late one too", n)
		}
		p.returns(9, 1)
		p.all.Wait()
	})
}

// TestPoolEndsWhileItsGoroutinesComeBack: those that come back at the same moment must not keep the others from being let go. The test
// hangs when one is left.
func TestPoolEndsWhileItsGoroutinesComeBack(t *testing.T) {
	for range 300 {
		p := newPoolTest(64)
		p.gives(0, 64)
		for p.goroutines() < 64 {
			runtime.Gosched()
		}
		p.returns(0, 32)
		for idle := 0; idle < 32; {
			runtime.Gosched()
			p.pool.mu.Lock()
			idle = len(p.idle)
			p.pool.mu.Unlock()
		}
		go p.returns(32, 32)
		p.end()
		p.all.Wait()
	}
}

func TestRunQueue(t *testing.T) {
	var q runQueue
	next, want := int32(0), int32(0)
	for i := range 2_000 {
		for range i % 7 {
			q.push(&run{slot: next})
			next++
		}
		for range i % 5 {
			if q.len() == 0 {
				break
			}
			if r := q.first(); r != q.pop() || r.slot != want {
				t.Fatalf("the queue gave run %d, want %d", r.slot, want)
			}
			want++
		}
		if q.len() != int(next-want) {
			t.Fatalf("the queue has %d runs, want %d", q.len(), next-want)
		}
	}
	for q.len() > 0 {
		q.pop()
	}
	for _, r := range q.list[:cap(q.list)] {
		if r != nil {
			t.Fatal("a run that is gone is still in memory")
		}
	}
}
