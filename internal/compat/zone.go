package compat

import (
	"strconv"
	"strings"
	"time"
)

// dateTime is how the documents write an instant. The legacy systems run on local time and never name a zone.
const dateTime = "2006-01-02 15:04:05"

// layouts are what a date-time without a zone may look like. Go takes fractions of a second after every one that ends with seconds, and
// one or two digits where one is written.
var layouts = [...]string{"2006-1-2 15:4:5", "2006-1-2T15:4:5", "2006/1/2 15:4:5", "2006-1-2 15:4", "2006-1-2T15:4", "2006/1/2 15:4", "2006-1-2", "2006/1/2"}

// ParseTime reads an instant of a legacy client, in ms since 1970: a date-time without a zone in the configured one,
// RFC 3339 with its own zone, or whole seconds since 1970 (up to 11 digits). The machine's zone never matters.
//
// Where clocks are changed it reads as PHP does: a time that is skipped is as much later, of one that comes twice it is the
// same one as PHP's.
func ParseTime(text string, zone *time.Location) (ms int64, ok bool) {
	text = strings.TrimSpace(text)
	if len(text) > 40 {
		return 0, false
	}
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		return n * 1000, err == nil && len(text) <= 11
	}
	for _, l := range layouts {
		if t, err := time.ParseInLocation(l, text, zone); err == nil {
			return t.Add(skipped(l, text, t)).UnixMilli(), true
		}
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	return t.UnixMilli(), err == nil
}

// skipped is by how much a reading is before the time on the clock that was written: the reading of a time that clocks skip may be.
func skipped(layout, text string, at time.Time) time.Duration {
	written, err := time.Parse(layout, text)
	if err != nil {
		return 0
	}
	_, offset := at.Zone()
	return max(0, written.Sub(at.UTC())-time.Duration(offset)*time.Second)
}

// FormatTime writes an instant, in ms since 1970, as the documents do.
func FormatTime(ms int64, zone *time.Location) string { return FormatAt(time.UnixMilli(ms), zone) }

// FormatAt is FormatTime of a time.
func FormatAt(at time.Time, zone *time.Location) string { return at.In(zone).Format(dateTime) }

// Seconds gives whole seconds since 1970 of an instant in ms; 0 stays 0.
func Seconds(ms int64) int64 { return ms / 1000 }
