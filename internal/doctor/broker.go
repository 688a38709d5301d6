package doctor

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/taskweir/taskweir/internal/config"
)

const (
	maxBody    = 4 << 20   // bytes of an HTTP answer
	needMsg    = 256 << 10 // bytes of the largest message
	needMPub   = 1 << 20   // bytes of the largest publish
	needReqTop = 5 * time.Second
)

// broker looks at every nsqd that is configured or found, and at every nsqlookupd.
func broker(ctx context.Context, c *config.Config, _ Probes) []Finding {
	if alone(c) {
		return []Finding{area("nsqd").ok("connection", "embedded in standalone")}
	}
	tlsConfig, err := c.NSQ.TLSConfig()
	if err != nil {
		return nil // said by settings
	}
	b := &brokers{c: c, tls: tlsConfig, http: &http.Client{Timeout: each}}
	defer b.http.CloseIdleConnections()
	found := b.lookup(ctx)
	for _, addr := range c.NSQ.Nsqd {
		b.nsqd(ctx, addr, "", httpOf(found, addr))
	}
	for _, n := range found {
		if addr := n.tcp(); !slices.Contains(b.seen, addr) {
			b.nsqd(ctx, addr, ", found through nsqlookupd,", n.web())
		}
	}
	return b.out
}

// brokers collects what is found about the broker.
type brokers struct {
	c    *config.Config
	tls  *tls.Config
	http *http.Client
	out  []Finding
	seen []string
}

// node is an nsqd as an nsqlookupd knows it.
type node struct {
	Address  string `json:"broadcast_address"`
	TCPPort  int    `json:"tcp_port"`
	HTTPPort int    `json:"http_port"`
	Version  string `json:"version"`
}

func (n node) tcp() string { return net.JoinHostPort(n.Address, strconv.Itoa(n.TCPPort)) }

// web is the HTTP address; empty when the nsqd serves none.
func (n node) web() string {
	if n.HTTPPort <= 0 {
		return ""
	}
	return net.JoinHostPort(n.Address, strconv.Itoa(n.HTTPPort))
}

// lookup asks every nsqlookupd and gives the nsqd they know.
func (b *brokers) lookup(ctx context.Context) []node {
	const a area = "nsqlookupd"
	var all []node
	for _, addr := range b.c.NSQ.Lookupd {
		answer, err := b.get(ctx, addr, "/ping")
		if err == nil && string(answer) != "OK" {
			err = fmt.Errorf("answers %q, not OK", cut(string(answer)))
		}
		var nodes struct {
			Producers []node `json:"producers"`
		}
		if err == nil {
			if answer, err = b.get(ctx, addr, "/nodes"); err == nil {
				err = json.Unmarshal(answer, &nodes)
			}
		}
		switch {
		case err != nil:
			b.out = append(b.out, a.problem(addr, err.Error(), "start it; name its HTTP address (usually port 4161) in "+b.c.Source("nsq.lookupd")))
		case len(nodes.Producers) == 0:
			b.out = append(b.out, a.problem(addr, "knows no nsqd: workers that ask it find nothing", "start every nsqd with --lookupd-tcp-address=host:4160 of this one"))
		default:
			b.out = append(b.out, a.ok(addr, fmt.Sprintf("knows %d nsqd", len(nodes.Producers))))
		}
		for _, n := range nodes.Producers {
			if !slices.ContainsFunc(all, func(o node) bool { return o.tcp() == n.tcp() }) {
				all = append(all, n)
			}
		}
	}
	return all
}

// httpOf gives the HTTP address of a configured nsqd, if an nsqlookupd knows an nsqd at the same port and address.
func httpOf(found []node, addr string) string {
	host, port, _ := net.SplitHostPort(addr)
	for _, n := range found {
		if strconv.Itoa(n.TCPPort) == port && (n.Address == host || sharesIP(n.Address, host)) {
			return n.web()
		}
	}
	return ""
}

func sharesIP(a, b string) bool {
	first, _ := net.LookupHost(a)
	second, _ := net.LookupHost(b)
	return slices.ContainsFunc(first, func(ip string) bool { return slices.Contains(second, ip) })
}

// nsqd introduces itself to one nsqd and looks at what it answers.
func (b *brokers) nsqd(ctx context.Context, addr, how, web string) {
	const a area = "nsqd"
	b.seen = append(b.seen, addr)
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	id, took, err := identify(ctx, addr, b.tls, b.c.NSQ.AuthSecret.Reveal())
	if err != nil {
		mend := "start it; name its TCP address (usually port 4150) in " + b.c.Source("nsq.nsqd") + "; check nsq.tls and " + b.c.Source("nsq.auth_secret")
		if how != "" {
			mend = "workers connect to this address: start that nsqd with --broadcast-address set to a name that resolves and is reachable from here"
		}
		b.out = append(b.out, a.problem(addr, strings.TrimPrefix(how+" "+err.Error(), " "), mend))
		return
	}
	b.out = append(b.out, a.ok(addr, fmt.Sprintf("nsqd %s%s answers in %s", id.Version, how, took.Round(100*time.Microsecond))))
	b.flags(addr, id)
	b.options(ctx, addr, web)
}

// flags looks at what the handshake tells.
func (b *brokers) flags(addr string, id identity) {
	const a area = "nsqd"
	add := func(f Finding) { b.out = append(b.out, f) }
	if id.MaxRdy < needRdy {
		add(a.problem(addr, fmt.Sprintf("--max-rdy-count is %d: workers ask for up to %d and are cut off", id.MaxRdy, needRdy), "start it with --max-rdy-count=2500"))
	}
	if id.MsgMs != msgTimeoutMs {
		add(a.problem(addr, fmt.Sprintf("messages time out after %d ms instead of %d", id.MsgMs, msgTimeoutMs), "start it with --max-msg-timeout of at least 10s"))
	}
	if id.AuthRequired && !b.c.NSQ.AuthSecret.IsSet() {
		add(a.problem(addr, "asks for AUTH, and no secret is configured", "set "+b.c.Source("nsq.auth_secret")))
	}
	if host, _, _ := net.SplitHostPort(addr); b.tls == nil && !isLoopback(host) {
		add(a.warn(addr, "traffic is in the clear: payloads can be read on the way (they cannot be forged, messages are signed)", "start it with --tls-cert, --tls-key and --tls-required, and set nsq.tls: true"))
	}
}

// options reads the flags that only nsqd's HTTP port tells; it is needed for nothing else.
func (b *brokers) options(ctx context.Context, addr, web string) {
	const a area = "nsqd"
	add := func(f Finding) { b.out = append(b.out, f) }
	if web == "" {
		add(a.ok(addr, "its HTTP address is not known here, so --max-msg-size (≥ 256 KiB), --max-body-size (≥ 1 MiB) and its disk were not looked at; the defaults are fine"))
		return
	}
	if answer, err := b.get(ctx, web, "/ping"); err != nil || string(answer) != "OK" {
		add(a.problem(addr, fmt.Sprintf("is not healthy: %s", cut(reason(answer, err))), "look at its log: the disk of --data-path may be full"))
		return
	}
	for _, o := range []struct {
		flag string
		need int64
		unit time.Duration // 0: bytes
	}{{"max-msg-size", needMsg, 0}, {"max-body-size", needMPub, 0}, {"max-req-timeout", int64(needReqTop), 1}} {
		answer, err := b.get(ctx, web, "/config/"+strings.ReplaceAll(o.flag, "-", "_"))
		n, perr := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
		if err != nil || perr != nil {
			add(a.ok(addr, "does not show its flags to this machine (--allow-config-from-cidr); the defaults are fine"))
			return
		}
		if n < o.need {
			needs := strconv.FormatInt(o.need, 10)
			if o.unit != 0 {
				needs = time.Duration(o.need).String()
			}
			add(a.problem(addr, fmt.Sprintf("--%s is %d, Taskweir needs %s", o.flag, n, needs), "start it with --"+o.flag+"="+needs+" or more"))
		}
	}
}

// get reads a small HTTP answer.
func (b *brokers) get(ctx context.Context, addr, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, each)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/vnd.nsq; version=1.0")
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", path, resp.Status)
	}
	return body, err
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func reason(answer []byte, err error) string {
	if len(answer) > 0 {
		return string(answer)
	}
	return err.Error()
}

func cut(text string) string {
	const most = 200
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strings.ToValidUTF8(text, "?")
}
