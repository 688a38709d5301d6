package stack

import (
	"bufio"
	"bytes"
	"fmt"
	"runtime"
	"runtime/pprof"
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/internal/task"
)

const (
	maxFrames = 64  // frames kept of one stack: those at both ends, where it stands and where it came from
	maxOuter  = 16  // of these at the outer end
	maxName   = 300 // bytes kept of a function or file
)

// Labelled gives the stacks of the goroutines whose label key has one of the values, by value, innermost frame first.
// Values without a goroutine are left out; of goroutines that stand at the same place, each is given. At most perValue
// goroutines of a value are given.
func Labelled(key string, values []string, perValue int) (map[string][]task.Goroutine, error) {
	want := make(map[string]string, len(values)) // as it stands in the profile
	for _, v := range values {
		want[strconv.Quote(key)+":"+strconv.Quote(v)] = v
	}
	var text bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&text, 1); err != nil {
		return nil, fmt.Errorf("read goroutine profile: %w", err)
	}
	return parse(text.Bytes(), key, want, perValue), nil
}

// parse reads the text form of the profile: per stack a line "2 @ 0x4f 0x5a" of how many goroutines have it and where, and
// a line "# labels: {…}" for labelled ones.
func parse(text []byte, key string, want map[string]string, perValue int) map[string][]task.Goroutine {
	out := map[string][]task.Goroutine{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, len(text)+1)
	var head string
	for lines.Scan() {
		line := lines.Text()
		labels, labelled := strings.CutPrefix(line, "# labels: ")
		if !labelled {
			head = ""
			if strings.Contains(line, " @ ") {
				head = line
			}
			continue
		}
		pair := labelOf(labels, key)
		value, ok := want[pair]
		if head == "" || !ok {
			continue
		}
		n, pcs := addresses(head)
		g := symbolise(pcs)
		for range min(n, perValue-len(out[value])) {
			out[value] = append(out[value], g)
		}
	}
	return out
}

// labelOf is the part "key":"value" of the labels of a stack; empty when they have no such key.
func labelOf(labels, key string) string {
	k := strconv.Quote(key) + ":"
	i := strings.Index(labels, k)
	if i < 0 {
		return ""
	}
	v, err := strconv.QuotedPrefix(labels[i+len(k):])
	if err != nil {
		return ""
	}
	return k + v
}

// addresses reads "2 @ 0x4f 0x5a".
func addresses(head string) (n int, pcs []uintptr) {
	count, rest, _ := strings.Cut(head, " @ ")
	n, err := strconv.Atoi(count)
	if err != nil {
		return 0, nil
	}
	for f := range strings.FieldsSeq(rest) {
		pc, err := strconv.ParseUint(f, 0, 64)
		if err != nil {
			return 0, nil
		}
		pcs = append(pcs, uintptr(pc))
	}
	return n, pcs
}

// symbolise turns addresses into frames and leaves out those of the runtime at both ends.
func symbolise(pcs []uintptr) task.Goroutine {
	g := task.Goroutine{State: "running"}
	if len(pcs) == 0 {
		return g
	}
	frames := runtime.CallersFrames(pcs)
	var inner []string // names of the runtime's frames at the inner end
	for more := true; more; {
		var f runtime.Frame
		f, more = frames.Next()
		if f.Function == "" || f.Function == "runtime.goexit" {
			continue
		}
		if len(g.Frames) == 0 && ofRuntime(f.Function, f.File) {
			inner = append(inner, f.Function)
			continue
		}
		g.Frames = append(g.Frames, task.Frame{Function: clip(f.Function), File: clip(f.File), Line: f.Line})
	}
	if n := len(g.Frames); n > maxFrames {
		g.Frames = slices.Delete(g.Frames, maxFrames-maxOuter, n-maxOuter)
	}
	g.State = stateOf(inner)
	return g
}

// ofRuntime reports whether a frame is the runtime's: its own packages, the poller, and what it implements for others,
// such as time.Sleep.
func ofRuntime(function, file string) bool {
	for _, p := range [...]string{"runtime.", "internal/runtime/", "internal/poll.", "syscall."} {
		if strings.HasPrefix(function, p) {
			return true
		}
	}
	i := strings.LastIndexByte(file, '/')
	if i < 0 {
		return false
	}
	dir := file[:i]
	return dir == "runtime" || strings.HasSuffix(dir, "/src/runtime")
}

// waits names what a goroutine waits for by the first of these functions that is among its inner frames.
var waits = []struct{ function, state string }{
	{"internal/poll.runtime_pollWait", "IO wait"},
	{"runtime.selectgo", "select"},
	{"runtime.block", "select (no cases)"},
	{"runtime.chanrecv", "chan receive"},
	{"runtime.chansend", "chan send"},
	{"time.Sleep", "sleep"},
	{"sync.runtime_SemacquireMutex", "sync.Mutex.Lock"},
	{"internal/sync.runtime_SemacquireMutex", "sync.Mutex.Lock"},
	{"sync.runtime_SemacquireRWMutex", "sync.RWMutex.Lock"},
	{"sync.runtime_SemacquireRWMutexR", "sync.RWMutex.RLock"},
	{"sync.runtime_SemacquireWaitGroup", "sync.WaitGroup.Wait"},
	{"sync.runtime_notifyListWait", "sync.Cond.Wait"},
	{"sync.runtime_Semacquire", "semacquire"},
	{"runtime.gopark", "waiting"},
	{"internal/runtime/syscall.Syscall6", "syscall"},
	{"internal/runtime/syscall/linux.Syscall6", "syscall"},
	{"syscall.Syscall", "syscall"},
	{"syscall.Syscall6", "syscall"},
	{"syscall.RawSyscall6", "syscall"},
}

// stateOf tells what a goroutine does from the runtime's frames at its inner end, in the runtime's own words.
func stateOf(inner []string) string {
	for _, w := range waits {
		for _, f := range inner {
			if f == w.function {
				return w.state
			}
		}
	}
	return "running"
}

func clip(s string) string {
	if len(s) <= maxName {
		return s
	}
	return "…" + strings.ToValidUTF8(s[len(s)-maxName:], "") // the end of a path says more than its beginning
}
