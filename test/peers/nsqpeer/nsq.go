package nsqpeer

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/nsqio/go-nsq"

	"github.com/taskweir/taskweir/test/peers/system"
	"github.com/taskweir/taskweir/test/peers/tally"
)

const topic, channel = "tasks", "workers"

var errRefused = errors.New("nsqd refuses")

// peer is NSQ, opened.
type peer struct {
	addr, http string
	with       tuning
	handler    system.Handler
	producer   *nsq.Producer
	done       *tally.Tally
	running    context.Context // of handlers; ends with Close, since NSQ never ends one
	end        context.CancelFunc

	consumer *nsq.Consumer // while it works
	base     int64         // of done at Mark
}

func open(ctx context.Context, addr, http string, h system.Handler, with tuning) (system.System, error) {
	producer, err := nsq.NewProducer(addr, nsq.NewConfig())
	if err != nil {
		return nil, fmt.Errorf("make a producer: %w", err)
	}
	producer.SetLogger(log.New(os.Stderr, "nsq ", 0), nsq.LogLevelError)
	p := &peer{addr: addr, http: http, with: with, handler: h, producer: producer, done: tally.New()}
	p.running, p.end = context.WithCancel(context.WithoutCancel(ctx))
	if err := p.Reset(ctx); err != nil {
		return nil, errors.Join(err, p.Close(ctx))
	}
	return p, nil
}

// Submit implements system.System.
func (p *peer) Submit(_ context.Context, t system.Task) error {
	var err error
	if delay := wait(t.Due); delay > 0 {
		err = p.producer.DeferredPublish(topic, delay, t.Payload())
	} else {
		err = p.producer.Publish(topic, t.Payload())
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	return nil
}

// wait is how long a message that is due then must be deferred: nsqd takes whole milliseconds, and cut off it would be early.
func wait(due time.Time) time.Duration {
	if due.IsZero() {
		return 0
	}
	return (time.Until(due) + time.Millisecond - 1).Truncate(time.Millisecond)
}

// SubmitBulk implements system.System. There is no MPUB of deferred messages.
func (p *peer) SubmitBulk(_ context.Context, tasks []system.Task) error {
	if len(tasks) == 0 {
		return nil
	}
	bodies := make([][]byte, len(tasks))
	for i, t := range tasks {
		if !t.Due.IsZero() {
			return system.ErrNone
		}
		bodies[i] = t.Payload()
	}
	if err := p.producer.MultiPublish(topic, bodies); err != nil {
		return fmt.Errorf("publish many: %w", err)
	}
	return nil
}

// Work implements system.System.
func (p *peer) Work(context.Context) error {
	if p.consumer != nil {
		return nil
	}
	config := nsq.NewConfig()
	config.MaxInFlight = p.with.inFlight
	if p.with.unbuffered {
		config.OutputBufferSize = -1
	}
	consumer, err := nsq.NewConsumer(topic, channel, config)
	if err != nil {
		return fmt.Errorf("make a consumer: %w", err)
	}
	consumer.SetLogger(log.New(os.Stderr, "nsq ", 0), nsq.LogLevelError)
	consumer.AddConcurrentHandlers(nsq.HandlerFunc(p.handle), handlers)
	if err := consumer.ConnectToNSQD(p.addr); err != nil {
		consumer.Stop()
		return fmt.Errorf("connect: %w", err)
	}
	p.consumer = consumer
	return nil
}

func (p *peer) handle(m *nsq.Message) error {
	if err := p.handler.Handle(p.running, m.Body); err != nil {
		return err
	}
	p.done.Add()
	return nil
}

// Hold implements system.System. Messages that nsqd has sent ahead still run.
func (p *peer) Hold(ctx context.Context) error {
	if p.consumer == nil {
		return nil
	}
	p.consumer.Stop()
	select {
	case <-p.consumer.StopChan:
		p.consumer = nil
		return nil
	case <-ctx.Done():
		return fmt.Errorf("stop the consumer: %w", context.Cause(ctx))
	}
}

// Mark implements system.System.
func (p *peer) Mark(context.Context) error {
	p.base = p.done.Count()
	return nil
}

// Await implements system.System by handlers that have returned: nsqd keeps no record.
func (p *peer) Await(ctx context.Context, n int64) error {
	if err := p.done.Wait(ctx, p.base+n); err != nil {
		return fmt.Errorf("await handlers: %w", err)
	}
	return nil
}

// Completed implements system.System.
func (p *peer) Completed(context.Context) (int64, error) { return 0, system.ErrNone }

// Cancel implements system.System.
func (p *peer) Cancel(context.Context, int64) error { return system.ErrNone }

// Reset implements system.System.
func (p *peer) Reset(ctx context.Context) error {
	if err := p.order(ctx, "/topic/delete?topic="+topic, http.StatusNotFound); err != nil {
		return err
	}
	if err := p.order(ctx, "/topic/create?topic="+topic, 0); err != nil {
		return err
	}
	return p.order(ctx, "/channel/create?topic="+topic+"&channel="+channel, 0)
}

// order POSTs to nsqd; the answer is 200, or also.
func (p *peer) order(ctx context.Context, path string, also int) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+p.http+path, nil)
	if err != nil {
		return fmt.Errorf("order %s: %w", path, err)
	}
	req.Close = true
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("order %s: %w", path, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK && res.StatusCode != also {
		return fmt.Errorf("%w %s: %s", errRefused, path, res.Status)
	}
	return nil
}

// Close implements system.System.
func (p *peer) Close(ctx context.Context) error {
	p.end()
	err := p.Hold(ctx)
	p.producer.Stop()
	return err
}
