package task

import "math"

// RetryPolicy says how failed attempts are spaced. The zero value is not valid; start from DefaultRetry.
type RetryPolicy struct {
	Policy   string  `json:"policy,omitempty"`   // fixed, linear, exponential, list
	BaseMs   int64   `json:"baseMs,omitempty"`   // 1 … 86,400,000
	CapMs    int64   `json:"capMs,omitempty"`    // ≥ BaseMs, ≤ 86,400,000
	Jitter   float64 `json:"jitter,omitempty"`   // 0 … 1: a delay d becomes d × (1 ± Jitter)
	Max      int     `json:"max"`                // retries after the first run, 0 … 100
	DelaysMs []int64 `json:"delaysMs,omitempty"` // with list, 1 … 100 entries; the last repeats
}

// DefaultRetry is the policy of a task that names none (spec/v1 "Tasks").
func DefaultRetry() RetryPolicy {
	return RetryPolicy{Policy: "exponential", BaseMs: 1_000, CapMs: 3_600_000, Jitter: 0.2, Max: 3}
}

// IsDefault reports whether p is DefaultRetry, which bodies leave out.
func (p RetryPolicy) IsDefault() bool {
	d := DefaultRetry()
	return p.Policy == d.Policy && p.BaseMs == d.BaseMs && p.CapMs == d.CapMs && p.Jitter == d.Jitter && p.Max == d.Max && len(p.DelaysMs) == 0
}

// Delay is the pause in ms before retry n (1 for the first retry). u in [0, 1) places it within the jitter. The result is
// never below 0 and, but for a list, never above CapMs.
func (p RetryPolicy) Delay(n int, u float64) int64 {
	if n < 1 {
		n = 1
	}
	var d float64
	switch p.Policy {
	case "fixed":
		d = float64(p.BaseMs)
	case "linear":
		d = float64(p.BaseMs) * float64(n)
	case "list":
		if len(p.DelaysMs) == 0 {
			return 0
		}
		d = float64(p.DelaysMs[min(n, len(p.DelaysMs))-1])
	default:
		d = float64(p.BaseMs) * math.Pow(2, float64(min(n-1, 60)))
	}
	capped := p.Policy != "list" && p.CapMs > 0
	if capped {
		d = math.Min(d, float64(p.CapMs)) // before the jitter, so that it still spreads
	}
	if p.Jitter > 0 {
		d *= 1 + p.Jitter*(2*u-1)
	}
	if capped {
		d = math.Min(d, float64(p.CapMs))
	}
	return int64(math.Max(0, math.Round(d)))
}
