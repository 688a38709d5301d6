package httpcall

import (
	"net/http"
	"strconv"

	"github.com/taskweir/taskweir/internal/task"
)

// HeaderCompleteWithin is what a receiver sends with 202 when it has taken the task over: the seconds within which it will
// say how that ended (POST /v1/tasks/{id}/complete with the epoch), 1 … 604,800. The attempt goes on until then and holds no
// slot. More counts as 604,800; a 202 without it, or with 0 or what is no number, is a success like any 2xx. What the surfaces' dialects make of a 202 is theirs.
const HeaderCompleteWithin = "Taskweir-Complete-Within"

// completeWithin reads it, in ms; 0: there is none.
func completeWithin(h http.Header) int64 {
	text := h.Get(HeaderCompleteWithin)
	if text == "" || !allDigits(text) {
		return 0
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n > task.MaxTimeoutMs/1_000 {
		return task.MaxTimeoutMs
	}
	return n * 1_000
}
