//go:build faults

package sqldb

import (
	"context"
	"database/sql/driver"
	"net"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/taskweir/taskweir/internal/failpoint"
)

// tapDial lets faultyMySQL know the TCP connection below each of the driver's, so that it can break it: what the code above
// sees of a lost connection is then the driver's own answer, and what the server does about it its own too.
func tapDial(cfg *mysql.Config) {
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if l, tapped := ctx.Value(lineKey{}).(*line); tapped && err == nil {
			l.conn = conn
		}
		return conn, err
	}
}

type lineKey struct{}

// line is the connection below one of the driver's.
type line struct{ conn net.Conn }

// cut breaks it, both ends know at once.
func (l *line) cut() {
	if tcp, ok := l.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // a reset, not a farewell
	}
	if l.conn != nil {
		_ = l.conn.Close()
	}
}

// faultyMySQL puts DBExec, DBCommit and the points of answers between the store and the driver.
func faultyMySQL(c driver.Connector) driver.Connector { return faultConnector{c} }

type faultConnector struct{ driver.Connector }

func (c faultConnector) Connect(ctx context.Context) (driver.Conn, error) {
	l := &line{}
	conn, err := c.Connector.Connect(context.WithValue(ctx, lineKey{}, l))
	if err != nil {
		return nil, err
	}
	return &faultConn{driverConn: conn.(driverConn), line: l}, nil
}

// driverConn is what connections of the driver can do, and database/sql asks for.
type driverConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.NamedValueChecker
	driver.SessionResetter
	driver.Validator
	driver.Pinger
}

type faultConn struct {
	driverConn
	line *line
	lost bool
}

// IsValid keeps a connection that was cut after an answer out of the pool; the driver has not noticed yet.
func (c *faultConn) IsValid() bool { return !c.lost && c.driverConn.IsValid() }

func (c *faultConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (res driver.Result, err error) {
	after, err := c.before(ctx, query)
	if err != nil {
		return nil, err
	}
	if res, err = c.driverConn.ExecContext(ctx, query, args); err == nil {
		err = c.after(after)
	}
	return res, err
}

func (c *faultConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	after, err := c.before(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := c.driverConn.QueryContext(ctx, query, args)
	if err != nil {
		return nil, err
	}
	if err := c.after(after); err != nil {
		_ = rows.Close() // it reads what is left of a connection that is cut
		return nil, err
	}
	return rows, nil
}

// before passes the points of a text. Its error is what the text is answered in place of being sent; after is what is to be done
// when it has run. ROLLBACK is left alone: a server does not refuse it, and a connection that is lost rolls back by itself.
func (c *faultConn) before(ctx context.Context, text string) (after []failpoint.Rule, err error) {
	if text == "ROLLBACK" {
		return nil, nil
	}
	commit := strings.HasSuffix(text, "COMMIT")
	rule, acts := failpoint.Take(failpoint.DBExec)
	if commit {
		if r, also := failpoint.Take(failpoint.DBCommit); !acts {
			rule, acts = r, also
		}
		if p, marked := failpoint.Of(ctx); marked {
			if answer, also := failpoint.Take(p); also {
				after = append(after, answer)
			}
		}
	}
	if !acts {
		return after, nil
	}
	rule.Do()
	switch rule.Fault() {
	case failpoint.LostBefore:
		c.line.cut() // what the driver says of it follows
	case failpoint.LostAfter:
		after = append(after, rule)
	case failpoint.Deadlock:
		return nil, c.refuse(ctx, text, "ROLLBACK;SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO=1213,MESSAGE_TEXT='Deadlock found (on purpose)'")
	case failpoint.LockWait, failpoint.Busy:
		return nil, c.refuse(ctx, text, "SIGNAL SQLSTATE 'HY000' SET MYSQL_ERRNO=1205,MESSAGE_TEXT='Lock wait timeout exceeded (on purpose)'")
	}
	return after, nil
}

// refuse lets the server itself answer with an error. A text that ends with COMMIT runs up to there, as it does when its last
// statement is the one that meets somebody's lock: after a lock wait its transaction is then open, with everything in it.
func (c *faultConn) refuse(ctx context.Context, text, signal string) error {
	if body, ends := strings.CutSuffix(text, ";COMMIT"); ends {
		signal = body + ";" + signal
	} else if strings.HasPrefix(text, startTransaction) {
		signal = startTransaction + ";" + signal
	}
	_, err := c.driverConn.ExecContext(ctx, signal, nil)
	return err
}

// after does what is to be done when a text has run.
func (c *faultConn) after(rules []failpoint.Rule) error {
	for _, r := range rules {
		r.Do()
		if r.Fault() == failpoint.LostAfter {
			c.line.cut()
			c.lost = true
		}
	}
	if c.lost {
		return mysql.ErrInvalidConn // as the driver says when a connection ends while it waits for the answer
	}
	return nil
}
