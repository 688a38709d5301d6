package goodjob

import (
	"crypto/md5" //nolint:gosec // the document's algorithm
	"crypto/subtle"
	"encoding/hex"

	"github.com/taskweir/taskweir/internal/compat"
)

// credentials are the headers that take part in a signature, under the names that the document gives them.
type credentials struct {
	appKey, nonce, time, version string
	hyphens                      bool // the names in the signed text have hyphens
}

// signed appends the text that a signature covers, all but the secret: the joined parameters and headers. Headers stand for
// parameters of the same name; a parameter "signature" is never covered. ok is false when the parameters cannot be joined.
func signed(dst []byte, params compat.Params, c credentials, f compat.Form) (text []byte, ok bool) {
	all := append(make(compat.Params, 0, len(params)+4), params.Without("signature")...)
	key, nonce := "app_key", "nonce_str"
	if c.hyphens {
		key, nonce = compat.Hyphens(key), compat.Hyphens(nonce)
	}
	all.Set(key, c.appKey)
	all.Set(nonce, c.nonce)
	all.Set("timestamp", c.time)
	all.Set("version", c.version)
	return all.Append(dst, f)
}

// sign gives the signature of parameters and headers: lower-case hexadecimal MD5 of the text with the secret behind it.
func sign(params compat.Params, c credentials, secret string, f compat.Form) (signature string, ok bool) {
	text, ok := signed(make([]byte, 0, 1<<10), params, c, f)
	if !ok {
		return "", false
	}
	return digest(text, secret), true
}

// digest may write behind the text.
func digest(text []byte, secret string) string {
	sum := md5.Sum(append(text, secret...)) //nolint:gosec // the document's algorithm
	return hex.EncodeToString(sum[:])
}

// verified reports whether a signature is that of one reading of the parameters by one of the secrets. The spelling that the caller
// used for headers is tried first.
func verified(params compat.Params, c credentials, secrets []string, given string) bool {
	params = params.Flatten()
	forms := readings(params)
	buf := make([]byte, 0, 1<<10)
	for range 2 {
		for _, f := range forms {
			text, ok := signed(buf[:0], params, c, f)
			buf = text // as large as it has become
			for _, s := range secrets {
				if ok && subtle.ConstantTimeCompare([]byte(digest(text, s)), []byte(given)) == 1 {
					return true
				}
			}
		}
		c.hyphens = !c.hyphens
	}
	return false
}

// readings are the ways in which clients write the parameters down, those left out that would give the same text.
func readings(params compat.Params) []compat.Form {
	out := append(make([]compat.Form, 0, 4), compat.Form{})
	if params.HasEmpty() {
		out = append(out, compat.Form{DropEmpty: true})
	}
	if params.HasObject() {
		for _, f := range out {
			f.Compact = true
			out = append(out, f)
		}
	}
	return out
}
