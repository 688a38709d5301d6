package sqldb

import (
	"encoding/binary"
	"math/bits"
	"slices"
	"sync"
)

// Waiting and run times are counted in buckets, four to an octave: a percentile read from them is wrong by a tenth of its value
// at most, and two of them are one by adding. Each writer keeps those of its running minute in memory and writes them whole
// with every flush, into its own row, where they replace what an earlier flush wrote: that needs no reading, and after a crash
// what was committed is there.

// histBuckets is the number of buckets: the last counts everything beyond 37 hours.
const histBuckets = 104

// histBytes is the most that a stored form has: what the column holds.
const histBytes = 1200

// histogram counts waiting (due to start) and run times of attempts.
type histogram struct{ wait, run buckets }

// buckets counts durations in ms.
type buckets [histBuckets]uint64

// bucketOf is the bucket of a duration in ms: one for each of 0 … 3, then four for each power of two.
func bucketOf(ms int64) int {
	if ms < 4 {
		return int(max(ms, 0))
	}
	octave := bits.Len64(uint64(ms)) - 1 // ≥ 2
	return min(4*(octave-1)+int(ms>>(octave-2))&3, histBuckets-1)
}

// bucketFrom is the least duration of a bucket.
func bucketFrom(i int) int64 {
	if i < 4 {
		return int64(i)
	}
	octave := i/4 + 1
	return int64(4+i%4) << (octave - 2)
}

// p95 is the duration that 95 of 100 do not exceed, -1 when none was counted.
func (b *buckets) p95() int64 {
	var all uint64
	for _, n := range b {
		all += n
	}
	if all == 0 {
		return -1
	}
	rank := (all*95 + 99) / 100 // 1 … all
	for i, n := range b {
		if n < rank {
			rank -= n
			continue
		}
		lo := bucketFrom(i)
		width := bucketFrom(i+1) - lo
		return lo + int64(float64(width-1)*float64(rank)/float64(n)+0.5)
	}
	return -1
}

// encode is the stored form: a version byte, then of waiting and of run times the first bucket in use, how many from there on
// are stored, and their counts as uvarints.
func (h *histogram) encode() []byte {
	b := append(make([]byte, 0, 96), 2)
	for _, counts := range []*buckets{&h.wait, &h.run} {
		from, to := 0, histBuckets
		for to > 0 && counts[to-1] == 0 {
			to--
		}
		for from < to && counts[from] == 0 {
			from++
		}
		b = append(b, byte(from), byte(to-from))
		for _, c := range counts[from:to] {
			b = binary.AppendUvarint(b, c)
		}
	}
	if len(b) > histBytes { // more than 10^10 in each of 100 buckets
		return nil
	}
	return b
}

// add adds a stored histogram. What is none is left out: a broken figure in a statistic is not worth an error.
func (h *histogram) add(b []byte) {
	if len(b) == 0 || b[0] != 2 {
		return
	}
	b = b[1:]
	for _, counts := range []*buckets{&h.wait, &h.run} {
		if len(b) < 2 {
			return
		}
		from, n := int(b[0]), int(b[1])
		b = b[2:]
		for i := from; i < from+n; i++ {
			v, w := binary.Uvarint(b)
			if w <= 0 {
				return
			}
			if i < histBuckets {
				counts[i] += v
			}
			b = b[w:]
		}
	}
}

// histKey names a histogram in memory.
type histKey struct {
	writer, minute int64
	statKey
}

// keptHist is a histogram as it is written.
type keptHist struct {
	histKey
	blob  []byte
	count uint64 // what it holds
}

// liveHist is a histogram in memory.
type liveHist struct {
	histogram
	count, written uint64 // attempts in it, and in what was committed of it
}

// histograms keeps the times of the running minute.
type histograms struct {
	mu    sync.Mutex
	byKey map[histKey]*liveHist
}

// histLate is for how many minutes a histogram is still written after its own: later, the minute may have been summed up, and
// what is in memory is also there.
const histLate = 1

// attemptTimes is one attempt that is to be counted.
type attemptTimes struct {
	statKey
	wait, run int64
}

// count counts attempts in a writer's minute and gives the histograms that have to be written with them: theirs, and those of the
// minute before that were not committed whole.
func (h *histograms) count(writer, minute int64, attempts []attemptTimes) []keptHist {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(attempts) == 0 {
		return nil // a minute that is over and not committed whole waits for the next flush with attempts
	}
	if h.byKey == nil {
		h.byKey = map[histKey]*liveHist{}
	}
	var one *liveHist
	var last histKey
	for _, a := range attempts {
		if key := (histKey{writer, minute, a.statKey}); one == nil || key != last {
			if one, last = h.byKey[key], key; one == nil {
				one = &liveHist{}
				h.byKey[key] = one
			}
		}
		one.wait[bucketOf(a.wait)]++
		one.run[bucketOf(a.run)]++
		one.count++
	}
	return h.pending(writer, minute)
}

// pending gives what of a writer is not committed, oldest minute first, and forgets what is too old.
func (h *histograms) pending(writer, minute int64) (out []keptHist) {
	for key, one := range h.byKey {
		switch {
		case key.minute < minute-histLate, key.minute < minute && one.count == one.written:
			delete(h.byKey, key)
		case key.writer == writer && one.count != one.written:
			if blob := one.encode(); blob != nil {
				out = append(out, keptHist{key, blob, one.count})
			}
		}
	}
	slices.SortFunc(out, func(a, b keptHist) int {
		if a.minute != b.minute {
			return cmpInt(a.minute, b.minute)
		}
		return a.compare(b.statKey)
	})
	return out
}

// committed says what was written.
func (h *histograms) committed(written []keptHist) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, w := range written {
		if one := h.byKey[w.histKey]; one != nil {
			one.written = w.count
		}
	}
}

// takeBack takes attempts out again whose transaction failed.
func (h *histograms) takeBack(writer, minute int64, attempts []attemptTimes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, a := range attempts {
		if one := h.byKey[histKey{writer, minute, a.statKey}]; one != nil && one.count > 0 {
			one.wait[bucketOf(a.wait)]--
			one.run[bucketOf(a.run)]--
			one.count--
			one.written = min(one.written, one.count)
		}
	}
}
