// Package signature signs and verifies HTTP bodies as the Standard Webhooks specification 1.0 says: three headers, and an
// HMAC-SHA256 over "id.timestamp.body". Taskweir signs its callbacks with it; receivers verify them:
//
//	secret, err := signature.ParseSecret(os.Getenv("TASKWEIR_SECRET"))
//	…
//	if err := signature.Verify(r.Header, body, time.Now(), secret); err != nil {
//		http.Error(w, "bad signature", http.StatusUnauthorized)
//	}
//
// The id is the same for every delivery of one task, also when it is tried again: receivers that keep ids can drop
// repetitions. The package uses the standard library only.
package signature

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The headers of a signed request, in canonical form.
const (
	HeaderID        = "Webhook-Id"
	HeaderTimestamp = "Webhook-Timestamp"
	HeaderSignature = "Webhook-Signature"
)

// Tolerance is how far a timestamp may be from the receiver's clock, in either direction.
const Tolerance = 5 * time.Minute

// The reasons for which Verify refuses. They tell a sender nothing about the secret.
var (
	ErrMissing  = errors.New("signature: a webhook header is missing or malformed")
	ErrTooOld   = errors.New("signature: the timestamp is too far from now")
	ErrMismatch = errors.New("signature: no signature matches")
	ErrSecret   = errors.New("signature: not a secret: want whsec_ and base64 of 16 to 64 bytes, or 16 to 128 characters")
)

// Secret is the bytes of a signing key. It prints, logs and marshals as a placeholder.
type Secret []byte

// placeholder stands for every secret.
const placeholder = prefix + "…"

// String hides the secret.
func (Secret) String() string { return placeholder }

// Format hides the secret whatever the verb is.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, placeholder) }

// MarshalText hides the secret from encoders and log handlers.
func (Secret) MarshalText() ([]byte, error) { return []byte(placeholder), nil }

// prefix marks a secret in the form of the specification.
const prefix = "whsec_"

// ParseSecret reads a secret: whsec_ and base64 of 16 to 64 bytes, or any other 16 to 128 characters, whose bytes are
// the key.
func ParseSecret(text string) (Secret, error) {
	if rest, ok := strings.CutPrefix(text, prefix); ok {
		key, err := base64.StdEncoding.DecodeString(rest)
		if err != nil || len(key) < 16 || len(key) > 64 {
			return nil, ErrSecret
		}
		return key, nil
	}
	if len(text) < 16 || len(text) > 128 {
		return nil, ErrSecret
	}
	return Secret(text), nil
}

// Sign gives the value of HeaderSignature for one secret. The id holds no dot.
func Sign(secret Secret, id string, at time.Time, body []byte) string {
	return "v1," + base64.StdEncoding.EncodeToString(mac(secret, id, strconv.FormatInt(at.Unix(), 10), body))
}

// SignHeader sets the three headers; several secrets (rotation) give several signatures, the newest first.
func SignHeader(h http.Header, id string, at time.Time, body []byte, secrets ...Secret) {
	signed := make([]string, len(secrets))
	for i, s := range secrets {
		signed[i] = Sign(s, id, at, body)
	}
	h[HeaderID] = []string{id}
	h[HeaderTimestamp] = []string{strconv.FormatInt(at.Unix(), 10)}
	h[HeaderSignature] = []string{strings.Join(signed, " ")}
}

// maxSignatures bounds the work that a header can ask for.
const maxSignatures = 16

// Verify checks the headers of a request against its raw body. One signature that matches one of the secrets is enough; empty
// secrets never match. now is the receiver's clock.
func Verify(h http.Header, body []byte, now time.Time, secrets ...Secret) error {
	id, stamp, list := h.Get(HeaderID), h.Get(HeaderTimestamp), h.Get(HeaderSignature)
	seconds, err := strconv.ParseInt(stamp, 10, 64)
	if id == "" || list == "" || err != nil {
		return ErrMissing
	}
	if d := now.Sub(time.Unix(seconds, 0)); d > Tolerance || d < -Tolerance {
		return fmt.Errorf("%w: %s", ErrTooOld, d.Round(time.Second))
	}
	given := signatures(list)
	for _, s := range secrets {
		if len(s) == 0 {
			continue // anybody can sign with no key
		}
		want := mac(s, id, stamp, body)
		for _, g := range given {
			if hmac.Equal(g, want) {
				return nil
			}
		}
	}
	return ErrMismatch
}

// signatures decodes the v1 entries of a header; others are of versions this package does not know.
func signatures(list string) (out [][]byte) {
	for i, part := range strings.Fields(list) {
		if i == maxSignatures {
			break
		}
		if text, ok := strings.CutPrefix(part, "v1,"); ok {
			if b, err := base64.StdEncoding.DecodeString(text); err == nil {
				out = append(out, b)
			}
		}
	}
	return out
}

func mac(secret Secret, id, stamp string, body []byte) []byte {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(id))
	m.Write([]byte{'.'})
	m.Write([]byte(stamp))
	m.Write([]byte{'.'})
	m.Write(body)
	return m.Sum(nil)
}
