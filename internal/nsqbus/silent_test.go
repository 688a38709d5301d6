package nsqbus_test

import (
	"testing"
	"time"

	"github.com/taskweir/taskweir/internal/nsqbus"
)

// A consumer that stands still with its connection open is sent messages until nsqd closes the connection, which it does
// after the time that the consumer asked for. From then on others get everything.
func TestNsqdLeavesASilentConsumerAlone(t *testing.T) {
	n := embedded(t, t.TempDir(), "")
	p, l := newProxy(t, n.TCPAddr()), lane()
	victim := openWith(t, []string{p.addr()}, nil, nsqbus.Options{SilentAfter: 2 * time.Second})
	_, heard := victim.consume(t, l, 64)
	other := open(t, []string{n.TCPAddr()}, nil)
	other.publish(t, l, bell(l, 1))
	next(t, heard).Finish()

	p.mute.Store(true) // the victim hears nothing and says nothing, its connections stand
	began := time.Now()
	_, got := other.consume(t, l, 64)
	other.publish(t, l, bells(l, 100, 40)...)
	eventually(t, "nsqd let go of all of the victim's connections", func() bool { return p.ended.Load() >= p.opened.Load() })
	if d := time.Since(began); d > 4500*time.Millisecond { // it asks each second; with the 5 s of others it takes at least 5 s
		t.Errorf("nsqd let go of a silent consumer after %v", d)
	}
	other.publish(t, l, bells(l, 1000, 40)...)
	late := time.Now()
	collect(t, got, 1000, 40)
	if d := time.Since(late); d > 5*time.Second {
		t.Errorf("messages still went to the silent consumer: the last one came after %v", d)
	}
	if len(heard) != 0 {
		t.Errorf("the silent consumer heard %d messages: nothing was tested", len(heard))
	}
}
