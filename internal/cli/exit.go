package cli

import (
	"errors"
	"net/http"

	"github.com/taskweir/taskweir/internal/config"
)

// Exit codes.
const (
	ExitOK          = 0
	ExitFailure     = 1
	ExitUsage       = 2
	ExitNotFound    = 3
	ExitRefused     = 4
	ExitUnavailable = 5
)

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
	case s == http.StatusTooManyRequests || s == http.StatusBadGateway || s == http.StatusServiceUnavailable || s == http.StatusGatewayTimeout:
		return ExitUnavailable
	case s >= 400 && s < 500:
		return ExitRefused
	}
	return ExitFailure
}
