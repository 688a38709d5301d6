package config

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

func parseCollector(into *string, text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be http://host:port or https://host, with a path if the collector has one")
	}
	if u.User != nil {
		return errors.New("must carry no user or password; a credential belongs into tracing.headers")
	}
	*into = text
	return nil
}

// maxHeaderValue bounds one header for the collector, in bytes.
const maxHeaderValue = 4096

func parseHeaders(into *Secret, text string) error {
	list, err := items(text, 16)
	if err != nil {
		return err
	}
	for i, pair := range list {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok || name == "" || strings.Trim(name, headerChars) != "" {
			return fmt.Errorf("number %d is no Name=value with a name of letters, digits, - and _", i+1) // the value is a secret
		}
		if value = strings.TrimSpace(value); value == "" || len(value) > maxHeaderValue || strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
			return fmt.Errorf("number %d needs a value of 1 to %d printable characters", i+1, maxHeaderValue)
		}
	}
	*into = Secret(strings.Join(list, ","))
	return nil
}

const headerChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// HeaderMap gives the collector's headers by name.
func (t Tracing) HeaderMap() map[string]string {
	m := map[string]string{}
	for pair := range strings.SplitSeq(t.Headers.Reveal(), ",") {
		if name, value, ok := strings.Cut(pair, "="); ok {
			m[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return m
}

func parseRatio(into *float64, text string) error {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f >= 0 && f <= 1) {
		return fmt.Errorf("must be a number from 0 to 1, is %s", quote(text))
	}
	*into = f
	return nil
}
