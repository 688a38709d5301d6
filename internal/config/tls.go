package config

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// maxPEM bounds a certificate or key file.
const maxPEM = 1 << 20

// TLSConfig gives the TLS settings towards nsqd, nil when TLS is off. Errors name the setting.
func (n NSQ) TLSConfig() (*tls.Config, error) {
	if !n.TLS {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if n.TLSCA != "" {
		raw, err := readBounded(n.TLSCA, maxPEM)
		if err != nil {
			return nil, fmt.Errorf("nsq.tls_ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, errors.New("nsq.tls_ca: " + n.TLSCA + " holds no certificate")
		}
	}
	if n.TLSCert != "" {
		pair, err := tls.LoadX509KeyPair(n.TLSCert, n.TLSKey)
		if err != nil {
			return nil, fmt.Errorf("nsq.tls_cert: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}
