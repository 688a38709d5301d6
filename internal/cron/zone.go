package cron

import (
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
	_ "time/tzdata" // the zones, for machines that have none
)

// zone is when a zone's clocks were and will be changed, from FirstYear to LastYear.
type zone struct {
	name string
	// starts are the instants, in seconds since 1970 UTC, from which on the offset of the same number holds. The first one is the
	// beginning of time.
	starts  []int64
	offsets []int64 // seconds east of UTC
}

// loaded keeps zones once they are read: a zone never changes while the process lives, and reading one takes longer than all the
// rest of Compile together.
var loaded sync.Map // name → *zone

// loadZone gives a zone by its IANA name; empty means UTC. Names of this machine's own, such as Local, are refused: two
// schedulers would understand different things by them.
func loadZone(name string) (*zone, error) {
	if name == "" {
		name = "UTC"
	}
	if z, ok := loaded.Load(name); ok {
		return z.(*zone), nil
	}
	if !isZoneName(name) {
		return nil, unknownZone(name)
	}
	location, err := time.LoadLocation(name)
	if err != nil {
		return nil, unknownZone(name)
	}
	z, _ := loaded.LoadOrStore(name, readZone(name, location))
	return z.(*zone), nil
}

func unknownZone(name string) error {
	return &Error{Field: "zone", Rule: "unknown", Message: fmt.Sprintf("unknown time zone %q: use an IANA name such as Europe/Berlin or UTC", clip(name))}
}

// isZoneName tells whether a name has the form of IANA's.
func isZoneName(name string) bool {
	if len(name) > maxZoneName || name[0] < 'A' || name[0] > 'Z' {
		return false
	}
	for i := range len(name) {
		c := name[i]
		letter := c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z'
		if !letter && (c < '0' || c > '9') && !strings.ContainsRune("_+-/", rune(c)) {
			return false
		}
	}
	return !strings.EqualFold(name, "Local") && !strings.EqualFold(name, "Factory") && !strings.Contains(name, "//")
}

// readZone lists a zone's changes. Changes of the name only are left out. Beyond the last year of its table a zone follows a rule,
// and package time then ends a segment at the end of each year too; in leap years it ends the last one a day early, before the
// instant that was asked for. The days until the next year have the same offset then.
func readZone(name string, location *time.Location) *zone {
	at := time.Unix(-2*secondsADay, 0).In(location)
	_, offset := at.Zone()
	z := &zone{name: name, starts: []int64{math.MinInt64}, offsets: []int64{int64(offset)}}
	for {
		_, end := at.ZoneBounds()
		if end.IsZero() {
			return z
		}
		if !end.After(at) {
			end = at.Add(secondsADay * time.Second)
		}
		if end.Unix() > maxSecond {
			return z
		}
		at = end
		_, offset := at.Zone()
		if int64(offset) != z.offsets[len(z.offsets)-1] {
			z.starts = append(z.starts, end.Unix())
			z.offsets = append(z.offsets, int64(offset))
		}
	}
}

// segment is the number of the offset that holds at an instant, in seconds.
func (z *zone) segment(at int64) int {
	low, high := 0, len(z.starts)
	for high-low > 1 {
		if middle := int(uint(low+high) >> 1); z.starts[middle] <= at {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// end is when a segment ends: the start of the next.
func (z *zone) end(i int) int64 {
	if i+1 < len(z.starts) {
		return z.starts[i+1]
	}
	return math.MaxInt64 / 2
}
