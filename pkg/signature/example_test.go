package signature_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/taskweir/taskweir/pkg/signature"
)

// A receiver checks a callback before it looks at what the callback says. While a secret is being rotated it knows two.
func ExampleVerify() {
	current, err := signature.ParseSecret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
	if err != nil {
		fmt.Println(err)
		return
	}
	previous, err := signature.ParseSecret("an older secret of 32 characters")
	if err != nil {
		fmt.Println(err)
		return
	}
	receive := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			http.Error(w, "cannot read", http.StatusBadRequest)
			return
		}
		if err := signature.Verify(r.Header, body, time.Now(), current, previous); err != nil {
			http.Error(w, "bad signature", http.StatusUnauthorized)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	}

	send := func(body string) int {
		r := httptest.NewRequest(http.MethodPost, "/callback", strings.NewReader(body))
		signature.SignHeader(r.Header, "task_17", time.Now(), []byte(`{"order":17}`), previous)
		w := httptest.NewRecorder()
		receive(w, r)
		return w.Code
	}
	fmt.Println(send(`{"order":17}`))
	fmt.Println(send(`{"order":18}`))
	// Output:
	// 204
	// 401
}

// One value for each secret of the sender, so that receivers can change to the new one at any time.
func ExampleSign() {
	secret, err := signature.ParseSecret("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(signature.Sign(secret, "msg_2", time.Unix(1_700_000_001, 0), []byte("{}")))
	// Output: v1,2GaWydPxOw/3FOlYe+y2CyyMiCOOse3X2xUaa8ELAes=
}

// Secrets do not show up in logs.
func ExampleSecret() {
	secret, err := signature.ParseSecret("an older secret of 32 characters")
	fmt.Printf("%v %x %v\n", secret, secret, err)
	// Output: whsec_… whsec_… <nil>
}
