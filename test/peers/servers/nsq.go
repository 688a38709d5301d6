package servers

import (
	"context"
	"errors"
	"os"

	"github.com/taskweir/taskweir/internal/testkit"
)

// NSQ starts an nsqlookupd and an nsqd that registers there, with the settings they ship with. nsqd keeps up to 10,000
// messages of a topic in memory and the others in files in dir, without flushing each.
func NSQ(ctx context.Context, dir string) (Set, error) {
	tools, err := testkit.NSQTools(ctx)
	if err != nil {
		return nil, err
	}
	l, err := testkit.StartNSQLookupd(ctx, tools, dir, "nsqlookupd")
	if err != nil {
		return nil, err
	}
	lookupd := &Server{Name: "nsqlookupd", Product: "nsqlookupd", Addr: l.Addr(), program: tools.NSQLookupd, flag: "-version", process: l.Process, end: os.Kill}
	d, err := testkit.StartNSQD(ctx, tools, dir, "nsqd", l.TCPAddr())
	if err != nil {
		return nil, errors.Join(err, lookupd.Close())
	}
	nsqd := &Server{Name: "nsqd", Product: "nsqd", Addr: d.Addr(), HTTPAddr: d.HTTPAddr(), program: tools.NSQD, flag: "-version", process: d.Process, end: os.Kill}
	return Set{nsqd, lookupd}, nil
}

// MissingNSQ lists what nsqd needs and this machine has not. Building it may use the network.
func MissingNSQ(ctx context.Context) []testkit.Missing {
	if _, err := testkit.NSQTools(ctx); err != nil {
		return []testkit.Missing{{What: "nsqd and nsqlookupd (built from test/tools)", Err: err, Without: "no bare NSQ"}}
	}
	return nil
}
