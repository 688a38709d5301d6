package bell

// creditWindow is what a lane's credit is counted over, in µs.
const creditWindow = 200_000

type pair struct{ lane, app int32 }

// credits counts what each (lane, app) was rung in the present window. Not safe for concurrent use.
type credits struct {
	window int64
	used   map[pair]int
}

// take uses n of a pair's credit, all or nothing.
func (c *credits) take(p pair, n, credit int, nowMicros int64) bool {
	if w := nowMicros / creditWindow; w != c.window || c.used == nil {
		c.window = w
		if len(c.used) > 1_000 { // after many apps at once, give the memory back
			c.used = nil
		}
		if c.used == nil {
			c.used = map[pair]int{}
		}
		clear(c.used)
	}
	if c.used[p]+n > credit {
		return false
	}
	c.used[p] += n
	return true
}
