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

// sign gives the signature of parameters and headers: lower-case hexadecimal MD5 of the joined text with the secret behind
// it. Headers stand for parameters of the same name; a parameter "signature" is never covered. ok is false when the parameters
// cannot be joined.
func sign(params compat.Params, c credentials, secret string, f compat.Form) (signature string, ok bool) {
	all := append(make(compat.Params, 0, len(params)+4), params.Without("signature")...)
	key, nonce := "app_key", "nonce_str"
	if c.hyphens {
		key, nonce = compat.Hyphens(key), compat.Hyphens(nonce)
	}
	all.Set(key, c.appKey)
	all.Set(nonce, c.nonce)
	all.Set("timestamp", c.time)
	all.Set("version", c.version)
	text, ok := all.Append(make([]byte, 0, 1<<10), f)
	if !ok {
		return "", false
	}
	sum := md5.Sum(append(text, secret...)) //nolint:gosec // the document's algorithm
	return hex.EncodeToString(sum[:]), true
}

// verified reports whether a signature is that of one reading of the parameters by one of the secrets. The spelling that the caller
// used for headers is tried first.
func verified(params compat.Params, c credentials, secrets []string, given string) bool {
	forms := readings(params)
	for range 2 {
		for _, f := range forms {
			for _, s := range secrets {
				want, ok := sign(params, c, s, f)
				if ok && subtle.ConstantTimeCompare([]byte(want), []byte(given)) == 1 {
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
