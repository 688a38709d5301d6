package cli

import (
	"errors"
	"net/http"
	"slices"

	"github.com/taskweir/taskweir/internal/config"
)

// Exit codes. They are part of the interface: scripts go by them.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitRefused     = 4
	ExitUnavailable = 5
	ExitConflict    = 6
	ExitCredentials = 7
	ExitTaskFailed  = 8
	ExitTaskStopped = 9
	ExitTimeout     = 10
	ExitInterrupted = 130
)

// exitCodes explains them, for taskweir help exit-codes and docs/cli.md.
var exitCodes = []struct {
	code int
	text string
}{
	{ExitOK, "done"},
	{ExitFailure, "failed: an internal error, a problem that doctor found, a receiver that takes callbacks wrongly, an item of a batch that was refused"},
	{ExitUsage, "the command line, a file it names or the configuration is wrong; nothing was sent"},
	{ExitNotFound, "not found, or another app's"},
	{ExitRefused, "a rule of the API is broken: the error names field and rule"},
	{ExitUnavailable, "nothing answers, or the server asks to come back later"},
	{ExitConflict, "a conflict with how things are: a key or a name is taken, the task is in another state, somebody changed it meanwhile"},
	{ExitCredentials, "no API key, a wrong or revoked one, or one whose scope is too small"},
	{ExitTaskFailed, "a task that was waited for or watched failed; a bulk operation gave up"},
	{ExitTaskStopped, "a task that was waited for or watched was cancelled; a bulk operation was stopped"},
	{ExitTimeout, "the time of --timeout is over and the task is not final"},
	{ExitInterrupted, "interrupted by Ctrl-C or SIGTERM; what was sent goes on"},
}

// exitError is an error with an exit code of its own. A silent one has been told already.
type exitError struct {
	code   int
	err    error
	silent bool
}

// Error is the text for people.
func (e *exitError) Error() string { return e.err.Error() }

// Unwrap gives the cause.
func (e *exitError) Unwrap() error { return e.err }

// usage is an error of the command line.
func usage(err error) error { return &exitError{code: ExitUsage, err: err} }

// exitCode is the exit code of an error.
func exitCode(err error) int {
	var own *exitError
	var api *apiError
	var gone *unreachable
	var settings *config.Error
	switch {
	case err == nil:
		return ExitOK
	case errors.As(err, &own):
		return own.code
	case errors.Is(err, errInterrupted):
		return ExitInterrupted
	case errors.As(err, &settings):
		return ExitUsage
	case errors.As(err, &gone):
		return ExitUnavailable
	case errors.As(err, &api):
		return api.exitCode()
	}
	return ExitFailure
}

func (e *apiError) exitCode() int {
	switch s := e.status; {
	case s == http.StatusNotFound:
		return ExitNotFound
	case s == http.StatusUnauthorized || s == http.StatusForbidden:
		return ExitCredentials
	case s == http.StatusConflict || s == http.StatusPreconditionFailed:
		return ExitConflict
	case slices.Contains([]int{http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout}, s):
		return ExitUnavailable
	case s >= 400 && s < 500:
		return ExitRefused
	}
	return ExitFailure
}
