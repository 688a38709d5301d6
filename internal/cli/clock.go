package cli

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// serverClock is the server's time as its last answer told it (header Date, to the second). Ages are reckoned by it: the clock
// of the machine in front of the terminal may be wrong by hours.
type serverClock struct {
	mu  sync.Mutex
	now apiv1.Time
}

// hear takes the time from an answer's headers.
func (c *serverClock) hear(h http.Header) {
	if at, err := http.ParseTime(h.Get("Date")); err == nil {
		c.mu.Lock()
		c.now = apiv1.Time(at.UnixMilli())
		c.mu.Unlock()
	}
}

// at is the time of the last answer; 0 before the first.
func (c *serverClock) at() apiv1.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// when shows an instant in a list: on a terminal as an age, which is short, elsewhere and with --time absolute as an instant.
func (p *program) when(t apiv1.Time) string {
	now := p.clock.at()
	if t == 0 || now == 0 || p.times == timesAbsolute || p.times != timesRelative && !p.terminal().is {
		return p.instant(t)
	}
	return age(t, now)
}

// whenFull shows an instant where there is room: with its age on a terminal.
func (p *program) whenFull(t apiv1.Time) string {
	text := p.instant(t)
	now := p.clock.at()
	if t == 0 || now == 0 || p.times == timesAbsolute || p.times == timesUTC || p.times != timesRelative && !p.terminal().is {
		return text
	}
	return text + " (" + age(t, now) + ")"
}

// instant is an instant in the machine's zone, or with --time utc as the API writes it.
func (p *program) instant(t apiv1.Time) string {
	if p.times == timesUTC && t != 0 {
		return t.String()
	}
	return local(t)
}

// age reads like "12s ago", "in 3h20m", "now".
func age(t, now apiv1.Time) string {
	d := int64(now - t)
	switch {
	case d > -1000 && d < 1000:
		return "now"
	case d < 0:
		return "in " + rough(-d)
	}
	return rough(d) + " ago"
}

// rough is a duration in its two largest units, like 45s, 3m20s, 5h4m, 12d4h, 410d.
func rough(ms int64) string {
	s := ms / 1000
	switch {
	case s < 60:
		return fmt.Sprintf("%ds", s)
	case s < 3600:
		return fmt.Sprintf("%dm%ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh%dm", s/3600, s%3600/60)
	case s < 100*86400:
		return fmt.Sprintf("%dd%dh", s/86400, s%86400/3600)
	}
	return fmt.Sprintf("%dd", s/86400)
}

// timesFormat is --time.
type timesFormat string

const (
	timesAuto     timesFormat = "auto"
	timesRelative timesFormat = "relative"
	timesAbsolute timesFormat = "absolute"
	timesUTC      timesFormat = "utc"
)

// String gives the format; auto unless set.
func (f *timesFormat) String() string {
	if *f == "" {
		return string(timesAuto)
	}
	return string(*f)
}

// Set implements pflag.Value.
func (f *timesFormat) Set(text string) error {
	switch timesFormat(text) {
	case timesAuto, timesRelative, timesAbsolute, timesUTC:
		*f = timesFormat(text)
		return nil
	}
	return fmt.Errorf("must be auto, relative, absolute or utc")
}

// Type implements pflag.Value.
func (f *timesFormat) Type() string { return "times" }

// flagTime reads a time of the command line: RFC 3339, or an age such as 15m or 2d, which the server's clock is asked for.
func flagTime(flag, text string, now func() (apiv1.Time, error)) (apiv1.Time, error) {
	if at, err := apiv1.ParseTime(text); err == nil {
		return at, nil
	}
	d, err := ageFlag(text)
	if err != nil {
		return 0, usage(fmt.Errorf("--%s: %q is neither a time like 2030-01-02T15:04:05Z nor an age like 90s, 15m, 24h or 7d", flag, text))
	}
	at, err := now()
	return at - apiv1.Time(d.Milliseconds()), err
}

func ageFlag(text string) (time.Duration, error) {
	var days int64
	if n, err := fmt.Sscanf(text, "%dd", &days); err == nil && n == 1 && text == fmt.Sprintf("%dd", days) && days >= 0 && days <= 36500 {
		return time.Duration(days) * 24 * time.Hour, nil
	}
	d, err := time.ParseDuration(text)
	if err == nil && d < 0 {
		err = fmt.Errorf("negative")
	}
	return d, err
}

// timeOfDay is the time of day of an instant, in the machine's zone.
func timeOfDay(t apiv1.Time) string { return t.Time().Local().Format("15:04:05.000") }
