package nsqbus

import (
	"context"
	"crypto/tls"
	"log/slog"
	"strings"
	"time"

	"github.com/nsqio/go-nsq"
)

// Channel is the NSQ channel that all workers share on every lane's topic.
const Channel = "workers"

const (
	dialTimeout    = time.Second
	heartbeatLeast = time.Second // nsqd refuses less
	heartbeatMost  = 5 * time.Second
	// readTimeout is how long a silent nsqd is believed: two heartbeats and some patience for a busy machine.
	readTimeout  = 12 * time.Second
	writeTimeout = time.Second
	msgTimeout   = 10 * time.Second
	retryFirst   = 50 * time.Millisecond // first pause before connecting again; doubles
	retryMost    = time.Second
)

// Options are shared by publishers and sources.
type Options struct {
	TLS        *tls.Config  // nil: plain TCP. The nsqd must offer TLS when it is set
	AuthSecret string       // sent after the handshake when nsqd asks for it
	Name       string       // how this process shows itself to nsqd, e.g. "taskweir-worker"; empty: "taskweir"
	Logger     *slog.Logger // nil: slog.Default
	// SilentAfter is how long nsqd may believe in a process that says nothing any more before it closes its connections and
	// sends it no more messages, as far as nsqd can be asked for it: 2 to 10 s; 0: 10 s. nsqd waits for between one and two
	// heartbeats, so the heartbeat is half of it. A worker's source should be left alone before its tasks are rescued, or
	// some of the messages for them go to a process that is frozen or cut off.
	SilentAfter time.Duration
}

// heartbeat is how often nsqd asks whether the process is there.
func (o Options) heartbeat() time.Duration {
	if o.SilentAfter <= 0 {
		return heartbeatMost
	}
	return min(max(heartbeatLeast, o.SilentAfter/2), heartbeatMost).Truncate(time.Millisecond)
}

// config is the go-nsq configuration of every connection.
func (o Options) config() *nsq.Config {
	c := nsq.NewConfig()
	c.DialTimeout = dialTimeout
	c.ReadTimeout = readTimeout
	c.WriteTimeout = writeTimeout
	c.HeartbeatInterval = o.heartbeat()
	c.MsgTimeout = msgTimeout
	// nsqd writes through: with its default buffer every pickup waits 25 to 250 ms.
	c.OutputBufferSize = -1
	c.UserAgent = "taskweir"
	if o.Name != "" {
		c.UserAgent, c.ClientID = o.Name, o.Name
	}
	if o.TLS != nil {
		c.TlsV1, c.TlsConfig = true, o.TLS
	}
	c.AuthSecret = o.AuthSecret
	return c
}

func (o Options) logger() *slog.Logger {
	if o.Logger == nil {
		return slog.Default()
	}
	return o.Logger
}

// lines turns go-nsq's log lines into records. It gets warnings and errors only.
type lines struct {
	log   *slog.Logger
	level slog.Level
}

// Output receives one line, which starts with its level.
func (l lines) Output(_ int, s string) error {
	text := strings.TrimSpace(s)
	for _, prefix := range []string{"WRN", "ERR", "INF"} {
		text = strings.TrimSpace(strings.TrimPrefix(text, prefix))
	}
	// How a connection ends is told once, by the code that makes it again.
	if strings.Contains(text, "IO error - ") || strings.Contains(text, "delaying close") {
		l.log.Debug("nsq: " + text)
		return nil
	}
	l.log.Log(context.Background(), l.level, "nsq: "+text)
	return nil
}

// connect dials and shakes hands. An nsqd that accepts but says nothing holds it for readTimeout; when ctx ends before, it
// returns and the attempt is given up behind it.
func connect(ctx context.Context, conn *nsq.Conn) error {
	result := make(chan error, 1)
	go func() {
		_, err := conn.Connect()
		if err != nil || ctx.Err() != nil {
			_ = conn.Close()
		}
		result <- err
	}()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// quiet makes conn log warnings and errors into log.
func quiet(conn *nsq.Conn, log *slog.Logger) {
	conn.SetLogger(lines{log, slog.LevelWarn}, nsq.LogLevelWarning, "")
	conn.SetLoggerForLevel(lines{log, slog.LevelError}, nsq.LogLevelError, "%s")
}
