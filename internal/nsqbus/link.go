package nsqbus

import (
	"context"
	"errors"
	"log/slog"
	"sync"

	"github.com/nsqio/go-nsq"
)

var (
	errLost     = errors.New("connection to nsqd lost before it answered")
	errNotThere = errors.New("not connected to nsqd")
)

// link is one publishing connection. Commands are pipelined: callers write under a lock and wait for their own answer;
// nsqd answers in order.
type link struct {
	conn   *nsq.Conn
	closed chan struct{} // closed when the connection has ended and every waiting caller was told

	write sync.Mutex // held while writing, so that waiting is in the order of the wire

	mu      sync.Mutex
	waiting []chan error
	dead    bool
}

// dial makes a publishing connection.
func dial(ctx context.Context, addr string, cfg *nsq.Config, log *slog.Logger) (*link, error) {
	l := &link{closed: make(chan struct{})}
	l.conn = nsq.NewConn(addr, cfg, l)
	quiet(l.conn, log)
	if err := connect(ctx, l.conn); err != nil {
		return nil, err
	}
	return l, nil
}

// send writes cmd and gives the channel on which its answer will stand: nil, nsqd's error, or errLost.
func (l *link) send(cmd *nsq.Command) (<-chan error, error) {
	answer := make(chan error, 1)
	l.write.Lock()
	defer l.write.Unlock()
	l.mu.Lock()
	dead := l.dead
	if !dead {
		l.waiting = append(l.waiting, answer)
	}
	l.mu.Unlock()
	if dead {
		return nil, errNotThere
	}
	if err := l.conn.WriteCommand(cmd); err != nil {
		// Some of it may be on the wire: the end of the connection answers with errLost.
		l.hangUp()
	}
	return answer, nil
}

// hangUp ends the connection; closed tells when it has ended.
func (l *link) hangUp() { _ = l.conn.Close() }

// OnResponse receives an answer (nsq.ConnDelegate).
func (l *link) OnResponse(_ *nsq.Conn, _ []byte) { l.answer(nil) }

// OnError receives a refusal. A fatal one is followed by the end of the connection.
func (l *link) OnError(_ *nsq.Conn, text []byte) { l.answer(errors.New("nsqd: " + string(text))) }

func (l *link) answer(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		return
	}
	l.waiting[0] <- err
	l.waiting = l.waiting[1:]
}

// OnIOError is told of a fault while reading or writing. It may run inside send.
func (l *link) OnIOError(c *nsq.Conn, _ error) { _ = c.Close() }

// OnClose is told once, when both loops of the connection have ended.
func (l *link) OnClose(*nsq.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dead = true
	for _, w := range l.waiting {
		w <- errLost
	}
	l.waiting = nil
	close(l.closed)
}

// A publishing connection has no messages, and heartbeats are answered by go-nsq.

// OnMessage does nothing.
func (l *link) OnMessage(*nsq.Conn, *nsq.Message) {}

// OnMessageFinished does nothing.
func (l *link) OnMessageFinished(*nsq.Conn, *nsq.Message) {}

// OnMessageRequeued does nothing.
func (l *link) OnMessageRequeued(*nsq.Conn, *nsq.Message) {}

// OnBackoff does nothing.
func (l *link) OnBackoff(*nsq.Conn) {}

// OnContinue does nothing.
func (l *link) OnContinue(*nsq.Conn) {}

// OnResume does nothing.
func (l *link) OnResume(*nsq.Conn) {}

// OnHeartbeat does nothing.
func (l *link) OnHeartbeat(*nsq.Conn) {}
