package serendipity

import (
	"context"
	"crypto/hmac"
	"crypto/md5" //nolint:gosec // the document's digest
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"time"

	"github.com/taskweir/taskweir/internal/compat"
	"github.com/taskweir/taskweir/internal/control"
	"github.com/taskweir/taskweir/internal/httpkit"
	"github.com/taskweir/taskweir/internal/task"
)

// proof is the headers that a signature covers, and the signature.
type proof struct{ nonce, timestamps, payload, signature string }

// sign gives the signature of three headers: base64 of the lower-case hexadecimal HMAC-SHA256 of timestamps, nonce and payload
// behind each other (document, "头部信息"; the base64 wraps the digits, not the bytes).
func sign(timestamps, nonce, payload, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(timestamps))
	mac.Write([]byte(nonce))
	mac.Write([]byte(payload))
	var digits [2 * sha256.Size]byte
	hex.Encode(digits[:], mac.Sum(nil))
	return base64.StdEncoding.EncodeToString(digits[:])
}

// signed makes the headers that a client sends.
func signed(payload, secret string, nowMs int64) proof {
	p := proof{nonce: rand.Text()[:nonceLen], timestamps: strconv.FormatInt(nowMs/1000, 10), payload: payload}
	p.signature = sign(p.timestamps, p.nonce, p.payload, secret)
	return p
}

// A nonce has as many characters as the document's, and the end of one of ours says that it is.
const (
	nonceLen = 16
	markLen  = 6
)

// called makes the headers of a callback. They are signed as a client's are, so that a receiver that shows or logs what it got
// would show a token for the API, good for as long as any. Therefore their nonce is marked: it ends with a digest of what stands
// before, keyed with the secret, so that nobody else can tell it from another, and ours knows it again.
func called(payload, secret string, nowMs int64) proof {
	p := proof{timestamps: strconv.FormatInt(nowMs/1000, 10), payload: payload}
	random := rand.Text()[:nonceLen-markLen]
	p.nonce = random + mark(random, secret)
	p.signature = sign(p.timestamps, p.nonce, p.payload, secret)
	return p
}

// mark is the end of a callback's nonce, in the characters of the others. A client's own nonce has it once in 2^30.
func mark(random, secret string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte("callback nonce " + random))
	return base32.StdEncoding.EncodeToString(mac.Sum(nil))[:markLen]
}

// ours reports whether the headers are those of a callback that one of the secrets signed.
func (p *proof) ours(secrets []string) bool {
	if len(p.nonce) != nonceLen {
		return false
	}
	random, end := p.nonce[:nonceLen-markLen], p.nonce[nonceLen-markLen:]
	found := 0
	for _, s := range secrets {
		found |= subtle.ConstantTimeCompare([]byte(mark(random, s)), []byte(end))
	}
	return found == 1
}

// holds reports whether one of the secrets made the signature. It takes constant time for each.
func (p *proof) holds(secrets []string) bool {
	found := 0
	for _, s := range secrets {
		found |= subtle.ConstantTimeCompare([]byte(sign(p.timestamps, p.nonce, p.payload, s)), []byte(p.signature))
	}
	return found == 1
}

func md5Hex(b []byte) string {
	sum := md5.Sum(b) //nolint:gosec // the document's digest
	return hex.EncodeToString(sum[:])
}

// digests reports whether a payload is the MD5 or SHA-256 of what was sent, in lower-case hexadecimal.
func digests(payload string, sent []byte) bool {
	sum := sha256.Sum256(sent)
	return subtle.ConstantTimeCompare([]byte(payload), []byte(md5Hex(sent)))|
		subtle.ConstantTimeCompare([]byte(payload), []byte(hex.EncodeToString(sum[:]))) == 1
}

// maxAhead is how far a token's time may be ahead of the server's.
const maxAhead = 300 * time.Second

// maxHeader bounds the headers that are signed: the document's are 16, 10 and 32 characters long.
const maxHeader = 256

// call is one request whose signature was verified.
type call struct {
	*httpkit.Request
	who    control.Principal
	params compat.Params
}

// guarded puts the check of the signature before a handler. All that is wrong has one answer: it tells nobody whether an app exists.
func (a *api) guarded(h func(context.Context, call) (httpkit.Response, error)) httpkit.Handler {
	return func(ctx context.Context, r *httpkit.Request) (httpkit.Response, error) {
		who, err := a.identify(ctx, r)
		if err != nil {
			return httpkit.Response{}, err
		}
		params, err := parameters(r)
		if err != nil {
			return httpkit.Response{}, err
		}
		return h(ctx, call{r, who, params})
	}
}

// identify finds the app of a request and checks that it is the app's.
func (a *api) identify(ctx context.Context, r *httpkit.Request) (who control.Principal, err error) {
	key, _ := compat.Either(r, "app_key")
	p := proof{nonce: r.Header("nonce"), timestamps: r.Header("timestamps"), payload: r.Header("payload"), signature: r.Header("signature")}
	for _, h := range [...]string{key, p.nonce, p.timestamps, p.payload, p.signature} {
		if h == "" || len(h) > maxHeader {
			return who, errUnauthorized
		}
	}
	app, err := a.svc.SignerOf(ctx, key)
	if err != nil && task.KindOf(err) == task.NotFound {
		return who, errUnauthorized
	}
	if err != nil {
		return who, err
	}
	strict := app.Principal.App.Legacy.SignatureMode == task.SignatureStrict
	at, ok := compat.ParseTime(p.timestamps, a.zone)
	if !ok || !a.inTime(at, strict) || !p.holds(app.Secrets) || p.ours(app.Secrets) {
		return who, errUnauthorized
	}
	if strict {
		if err := a.onceOnly(ctx, r, &p, app.Principal.App.ID); err != nil {
			return who, err
		}
		if !a.inTime(at, strict) { // its body came so slowly that its nonce may have been forgotten since it was used
			return who, errUnauthorized
		}
	}
	return app.Principal.Via(Name, r.Address(), r.ID()), nil
}

// inTime reports whether a request of that time is taken.
func (a *api) inTime(at int64, strict bool) bool {
	now := a.svc.Now()
	if strict {
		return compat.InWindow(at, now)
	}
	return at-now <= maxAhead.Milliseconds() && now-at <= a.tokenLife.Milliseconds()
}

// onceOnly checks what strict mode asks for beyond the signature: the payload is a digest of the request, and the nonce is new.
//
// The signed text has no separators, so that the last digits of a time could be the first of a nonce: who replays a request
// would have a nonce that is new. Therefore the text is used up too.
func (a *api) onceOnly(ctx context.Context, r *httpkit.Request, p *proof, app int32) error {
	r.LimitBody(maxBody)
	sent, err := r.Body()
	if err != nil {
		return err
	}
	ok := digests(p.payload, sent)
	if r.Method() != http.MethodPost { // what a GET asks for is its query
		ok = ok || digests(p.payload, []byte(r.RawQuery()))
	}
	if !ok || !a.nonces.Burn(ctx, app, "serendipity text "+p.timestamps+p.nonce+p.payload, compat.NonceLife) ||
		!a.nonces.Burn(ctx, app, p.nonce, compat.NonceLife) {
		return errUnauthorized
	}
	return nil
}
