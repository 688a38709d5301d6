package doctor

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"
	"github.com/nsqio/nsq/nsqlookupd"
)

type silent struct{}

func (silent) Output(int, string) error { return nil }

// startNsqd runs a real nsqd on free ports.
func startNsqd(t *testing.T, change func(*nsqd.Options)) (*nsqd.NSQD, string) {
	t.Helper()
	o := nsqd.NewOptions()
	o.DataPath, o.Logger = t.TempDir(), silent{}
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.BroadcastAddress = "127.0.0.1:0", "127.0.0.1:0", "", "127.0.0.1"
	if change != nil {
		change(o)
	}
	n, err := nsqd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = n.Main() }()
	t.Cleanup(func() { n.Exit(); <-done })
	return n, n.RealTCPAddr().String()
}

// startLookupd runs a real nsqlookupd and gives its TCP and HTTP addresses.
func startLookupd(t *testing.T) (tcp, web string) {
	t.Helper()
	o := nsqlookupd.NewOptions()
	o.Logger, o.TCPAddress, o.HTTPAddress = silent{}, "127.0.0.1:0", "127.0.0.1:0"
	l, err := nsqlookupd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = l.Main() }()
	t.Cleanup(func() { l.Exit(); <-done })
	return l.RealTCPAddr().String(), l.RealHTTPAddr().String()
}

func brokerReport(t *testing.T, env ...string) Report {
	t.Helper()
	return examine(t, split(t, env...), healthyMySQL(), fakeRedis{})
}

func TestNsqdFlagsThatBreakWorkersAreProblems(t *testing.T) {
	_, addr := startNsqd(t, func(o *nsqd.Options) { o.MaxRdyCount = 10 })
	expect(t, brokerReport(t, "TASKWEIR_NSQ_NSQD="+addr), "nsqd", addr, Problem, "--max-rdy-count is 10")
	_, addr = startNsqd(t, func(o *nsqd.Options) { o.MaxMsgTimeout = 5 * time.Second })
	expect(t, brokerReport(t, "TASKWEIR_NSQ_NSQD="+addr), "nsqd", addr, Problem, "timeout")
}

func TestEveryNsqdOfLookupdIsExamined(t *testing.T) {
	tcp, web := startLookupd(t)
	r := brokerReport(t, "TASKWEIR_NSQ_LOOKUPD="+web)
	expect(t, r, "nsqlookupd", web, Problem, "knows no nsqd")

	_, addr := startNsqd(t, func(o *nsqd.Options) {
		o.NSQLookupdTCPAddresses, o.MaxMsgSize = []string{tcp}, 1000
	})
	waitForNode(t, web)
	for _, env := range []string{"TASKWEIR_NSQ_NSQD=" + addr, "TASKWEIR_NSQ_NSQD="} {
		r = brokerReport(t, "TASKWEIR_NSQ_LOOKUPD="+web, env)
		expect(t, r, "nsqlookupd", web, OK, "knows 1 nsqd")
		expect(t, r, "nsqd", addr, Problem, "--max-msg-size is 1000")
		if n := len(find(r, "nsqd", addr)); n != 2 {
			t.Errorf("%d findings: %+v", n, find(r, "nsqd", addr))
		}
	}
}

// waitForNode asks an nsqlookupd until it knows an nsqd: the registration is the event, and nothing announces it.
func waitForNode(t *testing.T, web string) {
	t.Helper()
	b := &brokers{c: split(t, "TASKWEIR_NSQ_LOOKUPD="+web), http: http.DefaultClient}
	for ctx := t.Context(); len(b.lookup(ctx)) == 0; {
		if ctx.Err() != nil {
			t.Fatal(ctx.Err())
		}
	}
}

func TestUnreachableBrokersAreNamed(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	_ = l.Close()
	notNSQ := httptest.NewServer(http.NotFoundHandler())
	defer notNSQ.Close()
	web := strings.TrimPrefix(notNSQ.URL, "http://")
	r := brokerReport(t, "TASKWEIR_NSQ_NSQD="+dead+","+web, "TASKWEIR_NSQ_LOOKUPD="+dead+","+web)
	expect(t, r, "nsqd", dead, Problem, "refused")
	expect(t, r, "nsqd", web, Problem, "not as nsqd does")
	expect(t, r, "nsqlookupd", dead, Problem, "refused")
	expect(t, r, "nsqlookupd", web, Problem, "404")
	if mend := find(r, "nsqd", dead)[0].Mend; !strings.Contains(mend, "TASKWEIR_NSQ_NSQD") {
		t.Errorf("mend: %s", mend)
	}
}

func TestWrongBroadcastAddressIsExplained(t *testing.T) {
	lookupd := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ping" {
			_, _ = w.Write([]byte("OK"))
			return
		}
		_, _ = w.Write([]byte(`{"producers":[{"broadcast_address":"127.0.0.1","tcp_port":1,"http_port":-1,"version":"1.3.0"}]}`))
	}))
	defer lookupd.Close()
	r := brokerReport(t, "TASKWEIR_NSQ_LOOKUPD="+strings.TrimPrefix(lookupd.URL, "http://"))
	if f := find(r, "nsqd", "127.0.0.1:1"); len(f) != 1 || f[0].Level != Problem || !strings.Contains(f[0].Mend, "--broadcast-address") {
		t.Errorf("%+v", f)
	}
}

func TestAuthAndTLSAreSpoken(t *testing.T) {
	cert, key := certificate(t)
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("secret") != "s3cret" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = w.Write([]byte(`{"ttl":60,"authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}`))
	}))
	defer auth.Close()
	_, addr := startNsqd(t, func(o *nsqd.Options) {
		o.TLSCert, o.TLSKey, o.TLSRequired = cert, key, nsqd.TLSRequired
		o.AuthHTTPAddresses = []string{strings.TrimPrefix(auth.URL, "http://")}
	})
	base := []string{"TASKWEIR_NSQ_NSQD=" + addr}
	expect(t, brokerReport(t, base...), "nsqd", addr, Problem, "TLS")
	secured := append(base, "TASKWEIR_NSQ_TLS=true", "TASKWEIR_NSQ_TLS_CA="+cert)
	expect(t, brokerReport(t, secured...), "nsqd", addr, Problem, "asks for AUTH")
	expect(t, brokerReport(t, append(secured, "TASKWEIR_NSQ_AUTH_SECRET=wrong")...), "nsqd", addr, Problem, "AUTH")
	r := brokerReport(t, append(secured, "TASKWEIR_NSQ_AUTH_SECRET=s3cret")...)
	expect(t, r, "nsqd", addr, OK, "answers in")
	if r.Problems > 0 {
		t.Errorf("%+v", r.Findings)
	}
	_, plain := startNsqd(t, nil)
	expect(t, brokerReport(t, "TASKWEIR_NSQ_NSQD="+plain, "TASKWEIR_NSQ_TLS=true"), "nsqd", plain, Problem, "no TLS")
}

// certificate makes a self-signed certificate for 127.0.0.1.
func certificate(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "nsqd"}, NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

func TestSilentServerIsGivenUp(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // accepts in the kernel and never answers
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, _, err := identify(ctx, l.Addr().String(), nil, ""); err == nil {
		t.Error("a silent server was believed")
	}
}

// FuzzFrame feeds any bytes as an answer of an nsqd: a frame is read within its bound or refused.
func FuzzFrame(f *testing.F) {
	frame := func(kind uint32, data string) []byte {
		return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(len(data)+4)), kind), data...)
	}
	for _, seed := range [][]byte{nil, frame(0, "OK"), frame(1, "E_INVALID"), frame(2, "message"), frame(7, ""), frame(0, "")[:7], {0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0}} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		data, err := readFrame(bytes.NewReader(raw))
		if err == nil && (len(data) > maxFrame || len(data) > len(raw)-8) {
			t.Errorf("%d bytes out of %d", len(data), len(raw))
		}
	})
}
