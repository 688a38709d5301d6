package nsqbus

import (
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nsqio/go-nsq"
)

// feed keeps one lane's connection to one nsqd.
type feed struct {
	in     *inlet
	addr   string
	listed bool // guarded by in.mu

	ready   atomic.Int64 // wanted RDY
	poke    chan struct{}
	current atomic.Pointer[stream]
}

// run connects and subscribes, again and again, until the lane is closed or the address is not wanted any more.
func (f *feed) run() {
	log := f.in.src.log.With("nsqd", f.addr, "topic", f.in.lane.Topic())
	retry, told := retryFirst, false
	for f.in.wanted(f) {
		made := time.Now()
		st, err := f.open()
		if err == nil {
			if told {
				log.Info("consuming again")
				told = false
			}
			f.serve(st)
			if f.in.ctx.Err() != nil {
				return
			}
			log.Info("connection to nsqd ended")
			if time.Since(made) > retryMost {
				retry = retryFirst
				continue
			}
		} else if !told && f.in.ctx.Err() == nil {
			log.Warn("cannot consume, trying on", "error", err)
			told = true
		}
		if !sleep(f.in.ctx, retry) {
			return
		}
		retry = min(2*retry, retryMost)
	}
}

// open connects and subscribes, which makes topic and channel.
func (f *feed) open() (*stream, error) {
	st := newStream(f)
	st.conn = nsq.NewConn(f.addr, f.in.src.opts.config(), st)
	quiet(st.conn, f.in.src.log)
	if err := connect(f.in.ctx, st.conn); err != nil {
		return nil, err
	}
	err := st.conn.WriteCommand(nsq.Subscribe(f.in.lane.Topic(), Channel))
	if err == nil {
		patience := time.NewTimer(nodeTimeout)
		defer patience.Stop()
		select {
		case err = <-st.subscribed:
		case <-st.lost:
			err = errLost
		case <-patience.C:
			err = fmt.Errorf("no answer to SUB within %s", nodeTimeout)
		case <-f.in.ctx.Done():
			err = f.in.ctx.Err()
		}
	}
	if err != nil {
		st.hangUp()
		return nil, err
	}
	return st, nil
}

// serve writes RDY as it changes until the connection is lost, dropped or the lane closed. The end of the connection goes
// on behind it, because messages may still be unanswered, while run connects anew.
func (f *feed) serve(st *stream) {
	f.current.Store(st)
	f.in.join(f)
	defer func() {
		f.in.leave(f)
		f.current.Store(nil)
		f.in.src.wg.Go(st.retire)
	}()
	sent := int64(0)
	for {
		if want := min(f.ready.Load(), st.conn.MaxRDY()); want != sent {
			sent = want
			if st.conn.WriteCommand(nsq.Ready(int(want))) != nil {
				return
			}
			continue
		}
		select {
		case <-f.poke:
		case <-st.lost:
			return
		case <-f.in.ctx.Done():
			return
		}
	}
}

// setReady changes the wanted RDY; it is written behind the caller, and only the last of several is.
func (f *feed) setReady(n int64) {
	if f.ready.Swap(n) == n {
		return
	}
	select {
	case f.poke <- struct{}{}:
	default:
	}
}

// drop ends the present connection as if it were lost.
func (f *feed) drop() {
	if st := f.current.Load(); st != nil {
		st.lose()
	}
}
