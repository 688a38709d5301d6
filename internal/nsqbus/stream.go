package nsqbus

import (
	"bytes"
	"errors"
	"sync"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/taskweir/taskweir/internal/message"
	"github.com/taskweir/taskweir/internal/task"
)

const (
	// versionDelay is how long a message of an unknown version waits before somebody else may look at it.
	versionDelay = 5 * time.Second
	// farewell is how long a closing connection may take for each of its two steps.
	farewell = time.Second
)

// stream is one consuming connection, from dial to end.
type stream struct {
	feed *feed
	conn *nsq.Conn

	subscribed chan error    // answer to SUB
	lost       chan struct{} // closed when the connection cannot be used any more
	loseOnce   sync.Once
	waved      chan struct{} // closed when nsqd said that it sends no more
	waveOnce   sync.Once
	closed     chan struct{} // closed when go-nsq has let go of the connection

	mu   sync.Mutex
	open map[*delivery]struct{} // not answered; nil once retired
}

func newStream(f *feed) *stream {
	return &stream{feed: f, subscribed: make(chan error, 1), lost: make(chan struct{}), waved: make(chan struct{}),
		closed: make(chan struct{}), open: map[*delivery]struct{}{}}
}

func (st *stream) lose() { st.loseOnce.Do(func() { close(st.lost) }) }

// hangUp ends a connection that never had messages.
func (st *stream) hangUp() {
	st.lose()
	_ = st.conn.Close()
}

// retire ends the connection in order: nsqd is asked to send no more, what is not answered is handed back, and only then
// the connection is closed, so that no message waits for nsqd's timeout.
func (st *stream) retire() {
	_ = st.conn.WriteCommand(nsq.StartClose())
	st.mu.Lock()
	left := st.open
	st.open = nil
	st.mu.Unlock()
	for d := range left {
		d.msg.RequeueWithoutBackoff(0)
	}
	patience := time.NewTimer(farewell)
	defer patience.Stop()
	select {
	case <-st.waved:
	case <-st.closed:
	case <-patience.C:
	}
	_ = st.conn.Close()
	patience.Reset(farewell)
	select {
	case <-st.closed:
	case <-patience.C:
	}
}

// take reports whether d is still to be answered, and takes it out.
func (st *stream) take(d *delivery) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	_, ok := st.open[d]
	delete(st.open, d)
	return ok
}

// put enters a delivery; false when the stream is retired.
func (st *stream) put(d *delivery) bool {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.open == nil {
		return false
	}
	st.open[d] = struct{}{}
	return true
}

// OnMessage decodes a message and hands it on (nsq.ConnDelegate). It runs on the connection's reading goroutine.
func (st *stream) OnMessage(_ *nsq.Conn, m *nsq.Message) {
	src, lane := st.feed.in.src, st.feed.in.lane
	rung, verified, err := src.codec.Decode(m.Body)
	switch {
	case errors.Is(err, message.ErrVersion):
		src.bad.say(src.log, "message of an unknown version put back: is an upgrade under way?", "topic", lane.Topic(), "error", err)
		m.RequeueWithoutBackoff(versionDelay)
		return
	case err != nil:
		src.bad.say(src.log, "malformed message dropped", "topic", lane.Topic(), "error", err)
		m.Finish()
		return
	case rung.LaneID != lane.ID:
		src.bad.say(src.log, "message of another lane dropped", "topic", lane.Topic(), "lane", rung.LaneID, "signed", verified)
		m.Finish()
		return
	case !verified:
		src.bad.say(src.log, "message with a wrong signature: its payloads are not used", "topic", lane.Topic(), "bell", rung.ID)
	}
	d := &delivery{stream: st, msg: m, rung: rung}
	if !st.put(d) {
		m.RequeueWithoutBackoff(0)
		return
	}
	st.feed.in.deliver(d)
}

// OnResponse receives OK and CLOSE_WAIT.
func (st *stream) OnResponse(_ *nsq.Conn, data []byte) {
	switch {
	case bytes.Equal(data, []byte("CLOSE_WAIT")):
		st.waveOnce.Do(func() { close(st.waved) })
	default:
		st.answer(nil)
	}
}

// OnError receives a refusal: of SUB, or of an answer that came after nsqd's timeout, which is harmless. After a fatal one
// nsqd ends the connection.
func (st *stream) OnError(_ *nsq.Conn, text []byte) { st.answer(errors.New("nsqd: " + string(text))) }

func (st *stream) answer(err error) {
	select {
	case st.subscribed <- err:
	default:
	}
}

// OnIOError is told of a fault while reading or writing.
func (st *stream) OnIOError(c *nsq.Conn, _ error) {
	st.lose()
	_ = c.Close()
}

// OnClose is told once, when both loops of the connection have ended and every message was answered.
func (st *stream) OnClose(*nsq.Conn) {
	st.lose()
	close(st.closed)
}

// OnMessageFinished does nothing.
func (st *stream) OnMessageFinished(*nsq.Conn, *nsq.Message) {}

// OnMessageRequeued does nothing.
func (st *stream) OnMessageRequeued(*nsq.Conn, *nsq.Message) {}

// OnBackoff does nothing.
func (st *stream) OnBackoff(*nsq.Conn) {}

// OnContinue does nothing.
func (st *stream) OnContinue(*nsq.Conn) {}

// OnResume does nothing.
func (st *stream) OnResume(*nsq.Conn) {}

// OnHeartbeat does nothing: go-nsq answers it.
func (st *stream) OnHeartbeat(*nsq.Conn) {}

// delivery is one message (worker.Delivery).
type delivery struct {
	stream *stream
	msg    *nsq.Message
	rung   task.Rung
}

// Rung is the decoded bell.
func (d *delivery) Rung() task.Rung { return d.rung }

// Attempts is how often nsqd has delivered the message, 1 for the first time.
func (d *delivery) Attempts() int { return int(d.msg.Attempts) }

// Finish takes the message off the topic.
func (d *delivery) Finish() {
	if d.stream.take(d) {
		d.msg.Finish()
	}
}

// Requeue puts the message back for delayMs.
func (d *delivery) Requeue(delayMs int64) {
	if d.stream.take(d) {
		d.msg.RequeueWithoutBackoff(time.Duration(max(0, delayMs)) * time.Millisecond)
	}
}
