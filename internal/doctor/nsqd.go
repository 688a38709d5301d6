package doctor

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

const (
	msgTimeoutMs = 10_000 // what Taskweir's consumers ask for
	needRdy      = 64     // the most messages in flight of one connection
	maxFrame     = 1 << 16

	frameResponse = 0
	frameError    = 1
)

// identity is what an nsqd answers to IDENTIFY.
type identity struct {
	Version      string `json:"version"`
	MaxRdy       int64  `json:"max_rdy_count"`
	MaxMsgMs     int64  `json:"max_msg_timeout"`
	MsgMs        int64  `json:"msg_timeout"`
	TLS          bool   `json:"tls_v1"`
	AuthRequired bool   `json:"auth_required"`
	BufferSize   int64  `json:"output_buffer_size"`
}

// errNotNSQ is an answer that no nsqd gives: perhaps its HTTP port.
var errNotNSQ = errors.New("answers, but not as nsqd does over TCP")

// identify introduces itself to an nsqd as Taskweir's consumers do: unbuffered, 10 s message timeout, TLS and AUTH as configured.
func identify(ctx context.Context, addr string, tlsConfig *tls.Config, secret string) (id identity, took time.Duration, err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return id, 0, err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	hello := map[string]any{
		"client_id": "taskweir-doctor", "hostname": "taskweir-doctor", "user_agent": "taskweir-doctor", "feature_negotiation": true,
		"msg_timeout": msgTimeoutMs, "output_buffer_size": -1, "heartbeat_interval": 30_000, "tls_v1": tlsConfig != nil,
	}
	body, err := json.Marshal(hello)
	if err != nil {
		return id, 0, fmt.Errorf("encode greeting: %w", err)
	}
	began := time.Now()
	answer, err := command(conn, "  V2IDENTIFY\n", body)
	took = time.Since(began)
	if err != nil {
		return id, took, err
	}
	if err := json.Unmarshal(answer, &id); err != nil {
		return id, took, errNotNSQ
	}
	if tlsConfig != nil {
		if !id.TLS {
			return id, took, errors.New("offers no TLS")
		}
		if conn, err = upgrade(ctx, conn, addr, tlsConfig); err != nil {
			return id, took, err
		}
	}
	if id.AuthRequired && secret != "" {
		if _, err := command(conn, "AUTH\n", []byte(secret)); err != nil {
			return id, took, fmt.Errorf("AUTH: %w", err)
		}
	}
	if tlsConfig == nil {
		return id, took, insistsOnTLS(conn)
	}
	return id, took, nil
}

// insistsOnTLS finds an nsqd that demands TLS: it takes an IDENTIFY without, and refuses everything after it. CLS changes nothing
// and is always refused here, with a reason.
func insistsOnTLS(conn net.Conn) error {
	if _, err := io.WriteString(conn, "CLS\n"); err != nil {
		return err
	}
	if _, err := readFrame(conn); err != nil && strings.Contains(err.Error(), "TLS") {
		return errors.New("demands TLS")
	}
	return nil
}

// upgrade speaks TLS from here on; nsqd confirms it with OK.
func upgrade(ctx context.Context, conn net.Conn, addr string, tlsConfig *tls.Config) (net.Conn, error) {
	tlsConfig = tlsConfig.Clone()
	tlsConfig.ServerName, _, _ = net.SplitHostPort(addr)
	secured := tls.Client(conn, tlsConfig)
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	if _, err := readFrame(secured); err != nil {
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return secured, nil
}

// command sends a command with a body and gives the answer.
func command(conn net.Conn, name string, body []byte) ([]byte, error) {
	message := binary.BigEndian.AppendUint32([]byte(name), uint32(len(body)))
	if _, err := conn.Write(append(message, body...)); err != nil {
		return nil, err
	}
	return readFrame(conn)
}

// readFrame reads one frame: size, type, data. An error frame is an error.
func readFrame(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size, kind := binary.BigEndian.Uint32(head[:4]), binary.BigEndian.Uint32(head[4:])
	if size < 4 || size > maxFrame || kind > 2 {
		return nil, errNotNSQ
	}
	data := make([]byte, size-4)
	if _, err := io.ReadFull(r, data); err != nil {
		return nil, err
	}
	switch kind {
	case frameError:
		return nil, errors.New(strings.ToValidUTF8(string(data), "?"))
	case frameResponse:
		return data, nil
	}
	return nil, errNotNSQ
}
