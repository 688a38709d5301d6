package nsqbus_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nsqio/nsq/nsqd"

	"github.com/taskweir/taskweir/internal/nsqbus"
)

// secured starts an nsqd that requires TLS and a secret, and gives the pool that trusts it.
func secured(t *testing.T, secret string) (addr string, pool *x509.CertPool) {
	t.Helper()
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("secret") != secret {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, `{"ttl":60,"identity":"taskweir","authorizations":[{"topic":".*","channels":[".*"],"permissions":["publish","subscribe"]}]}`)
	}))
	t.Cleanup(auth.Close)
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	o := nsqd.NewOptions()
	o.TCPAddress, o.HTTPAddress, o.HTTPSAddress, o.DataPath = "127.0.0.1:0", "", "", dir
	o.Logger, o.LogLevel = mute{}, nsqd.LOG_ERROR
	o.TLSCert, o.TLSKey, o.TLSRequired, o.TLSMinVersion = cert, key, nsqd.TLSRequired, tls.VersionTLS12
	o.AuthHTTPAddresses = []string{auth.Listener.Addr().String()}
	n, err := nsqd.New(o)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = n.Main()
	}()
	t.Cleanup(func() {
		n.Exit()
		<-done
	})
	return n.RealTCPAddr().String(), pool
}

func certificate(t *testing.T, dir string) (certFile, keyFile string, pool *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pool = x509.NewCertPool()
	pool.AppendCertsFromPEM(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return certFile, keyFile, pool
}

func TestTLSAndSecret(t *testing.T) {
	addr, pool := secured(t, "s3cret")
	for name, tt := range map[string]struct {
		opts nsqbus.Options
		ok   bool
	}{
		"both right":        {nsqbus.Options{TLS: &tls.Config{RootCAs: pool}, AuthSecret: "s3cret"}, true},
		"wrong secret":      {nsqbus.Options{TLS: &tls.Config{RootCAs: pool}, AuthSecret: "guess"}, false},
		"no secret":         {nsqbus.Options{TLS: &tls.Config{RootCAs: pool}}, false},
		"unknown authority": {nsqbus.Options{TLS: &tls.Config{RootCAs: x509.NewCertPool()}, AuthSecret: "s3cret"}, false},
		"plain":             {nsqbus.Options{AuthSecret: "s3cret"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			b, l := openWith(t, []string{addr}, nil, tt.opts), lane()
			err := b.pub.Reachable(t.Context())
			if (err == nil) != tt.ok {
				t.Fatalf("reachable: %v", err)
			}
			if !tt.ok {
				return
			}
			_, got := b.consume(t, l, 4)
			b.publish(t, l, bells(l, 1, 30)...)
			collect(t, got, 1, 30)
		})
	}
}
