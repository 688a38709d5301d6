package load

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/test/faults/history"
)

const (
	clockEvery = 250 * time.Millisecond
	probeEvery = 100 * time.Millisecond
)

// readClock reads the database's clock until ctx ends. What fails is left out: the database may be away.
func (l *Load) readClock(ctx context.Context) {
	tick := time.NewTicker(clockEvery)
	defer tick.Stop()
	for {
		sent := l.Now()
		ms, err := l.db.now(ctx)
		if trip := l.Now() - sent; err == nil {
			l.mu.Lock()
			l.clock.Database = append(l.clock.Database, history.Sample{At: sent, Trip: trip, DB: ms})
			l.mu.Unlock()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// probe measures how late the sink's handlers begin, until ctx ends.
func (l *Load) probe(ctx context.Context) {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+l.sink.addr+"/probe", strings.NewReader(""))
		if err != nil {
			continue
		}
		req.Header.Set(headerProbe, strconv.FormatInt(int64(l.Now()), 10))
		if resp, err := l.http.Do(req); err == nil {
			_ = resp.Body.Close() // it has no body
		}
	}
}
