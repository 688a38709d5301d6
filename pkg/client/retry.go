package client

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/taskweir/taskweir/pkg/apiv1"
)

// RetryPolicy says how requests are repeated. What is repeated is not for it to say: package doc.
type RetryPolicy struct {
	Tries   int           // of one request, the first included; default 5, 1: no repeats
	Base    time.Duration // the first pause, doubled with each; default 100 ms
	Cap     time.Duration // no pause of our own is longer; default 5 s
	Elapsed time.Duration // no repeat is begun later after the first try; default 60 s. A longer Retry-After ends the repeats
	// GiveUp, where it is given, is asked before each repeat; true gives err to the caller now.
	GiveUp func(err error) bool
	// Pause, where it is given, waits in place of a timer; it ends with an error when ctx does. For tests.
	Pause func(ctx context.Context, d time.Duration) error
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.Tries < 1 {
		p.Tries = 5
	}
	if p.Base <= 0 {
		p.Base = 100 * time.Millisecond
	}
	if p.Cap <= 0 {
		p.Cap = 5 * time.Second
	}
	if p.Elapsed <= 0 {
		p.Elapsed = time.Minute
	}
	return p
}

// backOff is the pause after a try, 1 the first: between half of and the whole doubled base, so that clients which failed
// together do not come back together.
func (p RetryPolicy) backOff(try int) time.Duration {
	d := p.Cap
	if shift := try - 1; shift < 20 {
		d = min(p.Base<<shift, p.Cap)
	}
	return d/2 + rand.N(d/2+1)
}

// pause waits, or gives why the context ended.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ended(ctx)
	case <-t.C:
		return nil
	}
}

// repeat says whether doing a request twice differs from doing it once.
type repeat uint8

const (
	twiceIsOnce  repeat = iota // reads, what carries an Idempotency-Key, what says how something shall be
	twiceIsTwice               // repeated only when the server cannot have begun it
)

// worthRepeating reports whether err may be over soon and a repeat does no harm, and what the server asks to wait.
func (r *request) worthRepeating(err error) (after time.Duration, ok bool) {
	var maybeDone bool
	if e, is := errors.AsType[*Error](err); is {
		if !temporary(e) && !(r.again && e.Problem.Code == apiv1.CodeLiveViewUnavailable) {
			return 0, false
		}
		after, maybeDone = e.RetryAfter, e.MaybeDone()
	} else if e, is := errors.AsType[*NoAnswerError](err); is {
		if !mayPass(e.Cause) {
			return 0, false
		}
		maybeDone = e.MaybeDone
	} else {
		return 0, false
	}
	return after, !maybeDone || r.repeat == twiceIsOnce && r.ifMatch == ""
}

// temporary are the answers that another try may better. Only the live view gone is none: it is not coming back within a request.
func temporary(e *Error) bool {
	switch e.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusGatewayTimeout:
		return true
	case http.StatusServiceUnavailable:
		return e.Problem.Code != apiv1.CodeLiveViewUnavailable
	}
	return false
}

// mayPass reports whether a connection's failure may be over soon: a wrong certificate and a redirect are not.
func mayPass(cause error) bool {
	if _, wrong := errors.AsType[*tls.CertificateVerificationError](cause); wrong {
		return false
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](cause); plain {
		return false
	}
	return !errors.Is(cause, errRedirect) && !errors.Is(cause, errTooLarge) && !errors.Is(cause, http.ErrSchemeMismatch)
}

// budget bounds repeats over all requests of a client, so that a server in trouble is not buried by them: a store of 100
// repeats that each request which went well refills by a tenth.
type budget struct {
	mu    sync.Mutex
	spent float64
}

const budgetSize, budgetRefill = 100, 0.1

func (b *budget) take() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.spent+1 > budgetSize {
		return false
	}
	b.spent++
	return true
}

func (b *budget) refill() {
	b.mu.Lock()
	b.spent = max(0, b.spent-budgetRefill)
	b.mu.Unlock()
}
