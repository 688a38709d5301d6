package config

import (
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	second = time.Second
	// none is how a list is emptied where an empty text means "not set".
	none = "none"
)

var redisScheme = regexp.MustCompile(`^rediss?(-sentinel|-cluster)?$`)

var queueName = regexp.MustCompile(`^[a-z0-9_-]{1,40}$`)

func parseInt(into *int, text string, low, high int) error {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		return fmt.Errorf("must be a whole number from %d to %d, is %s", low, high, quote(text))
	}
	*into = n
	return nil
}

func parseBool(into *bool, text string) error {
	b, err := strconv.ParseBool(text)
	if err != nil {
		return fmt.Errorf("must be true or false, is %s", quote(text))
	}
	*into = b
	return nil
}

// parseDuration reads a Go duration, or whole days like 7d.
func parseDuration(into *time.Duration, text string, low time.Duration, high string) error {
	top, _ := duration(high)
	d, err := duration(text)
	if err != nil {
		return fmt.Errorf("must be a duration like 10s, 5m, 24h or 7d, is %s", quote(text))
	}
	if d < low || d > top {
		return fmt.Errorf("must be from %s to %s, is %s", low, high, text)
	}
	*into = d
	return nil
}

func duration(text string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(text, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 16)
		return time.Duration(n) * 24 * time.Hour, err
	}
	return time.ParseDuration(text)
}

func parseListen(into *string, text string) error {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return fmt.Errorf("must be host:port, is %s", quote(text))
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil {
		return fmt.Errorf("port must be 0 to 65535, is %s", quote(port))
	} else if host != "" && !hostOK(host) {
		return fmt.Errorf("must be host:port, is %s", quote(text))
	} else {
		*into = net.JoinHostPort(host, strconv.FormatUint(n, 10))
	}
	return nil
}

func parseAddrs(into *[]string, text string) error {
	list, err := items(text, 64)
	if err != nil {
		return err
	}
	for _, a := range list {
		host, port, err := net.SplitHostPort(a)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || !hostOK(host) || perr != nil || n == 0 {
			return fmt.Errorf("must be host:port (no scheme, port 1 to 65535), has %s", quote(a))
		}
	}
	*into = list
	return nil
}

func hostOK(host string) bool {
	return host != "" && !strings.ContainsAny(host, " /@\\?#\"'") && len(host) <= 255
}

func parsePrefixes(into *[]netip.Prefix, text string) error {
	list, err := items(text, 256)
	if err != nil {
		return err
	}
	var out []netip.Prefix
	for _, item := range list {
		p, err := netip.ParsePrefix(item)
		if err != nil {
			return fmt.Errorf("must be networks like 10.0.0.0/8, has %s", quote(item))
		}
		if p != p.Masked() {
			return fmt.Errorf("%s has address bits beyond its length; the network is %s", item, p.Masked())
		}
		out = append(out, p)
	}
	*into = out
	return nil
}

func parseQueues(into *[]string, text string) error {
	list, err := items(text, 256)
	if err != nil {
		return err
	}
	for _, q := range list {
		if !queueName.MatchString(q) {
			return fmt.Errorf("a queue's name is 1 to 40 of a-z, 0-9, _ and -, has %s", quote(q))
		}
	}
	*into = list
	return nil
}

// items splits a comma list and refuses doubles and gaps. "none" and the empty text are the empty list.
func items(text string, most int) ([]string, error) {
	if text = strings.TrimSpace(text); text == "" || text == none {
		return nil, nil
	}
	var out []string
	for item := range strings.SplitSeq(text, ",") {
		item = strings.TrimSpace(item)
		switch {
		case item == "":
			return nil, errors.New("has an empty entry")
		case slices.Contains(out, item):
			return nil, fmt.Errorf("has %s twice", quote(item))
		case len(out) == most:
			return nil, fmt.Errorf("has more than %d entries", most)
		}
		out = append(out, item)
	}
	return out, nil
}

func parsePrintable(into *Secret, text string, low, high int) error {
	if len(text) < low || len(text) > high {
		return fmt.Errorf("must have %d to %d characters, has %d", low, high, len(text))
	}
	for i := range len(text) {
		if text[i] < 0x21 || text[i] > 0x7e {
			return fmt.Errorf("must be printable ASCII without spaces; character %d is not", i+1)
		}
	}
	*into = Secret(text)
	return nil
}

func parseKey(into *Key, text string) error {
	raw, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		raw, err = base64.RawStdEncoding.DecodeString(text)
	}
	if err != nil {
		return errors.New("must be base64 of 32 bytes, is no base64")
	}
	if len(raw) != len(into) {
		return fmt.Errorf("must be base64 of 32 bytes, has %d bytes", len(raw))
	}
	k := Key(raw)
	if !k.IsSet() {
		return errors.New("must be random, is all zero")
	}
	*into = k
	return nil
}

func parseDatabaseURL(into *SecretURL, text string) error {
	switch {
	case strings.HasPrefix(text, "sqlite://"):
		path := strings.TrimPrefix(text, "sqlite://")
		if !filepath.IsAbs(path) || strings.HasSuffix(path, "/") || strings.ContainsAny(path, "?#\x00") {
			return errors.New("must be sqlite:///absolute/path of a file (three slashes, no options)")
		}
	case strings.HasPrefix(text, "mysql://"):
		u, err := url.Parse(text)
		if err != nil { // its message would repeat the password
			return errors.New("must be mysql://user:password@host:port/name, special characters of the password percent-encoded")
		}
		if name := strings.TrimPrefix(u.Path, "/"); u.Hostname() == "" || name == "" || strings.Contains(name, "/") {
			return errors.New("must be mysql://user:password@host:port/name")
		}
	default:
		return errors.New("must begin with mysql:// or sqlite:///")
	}
	*into = SecretURL(text)
	return nil
}

// parseRedisURL looks at the scheme and at whether there is a host; the rest is the adapter's to read.
func parseRedisURL(into *SecretURL, text string) error {
	scheme, rest, _ := strings.Cut(text, "://")
	if !redisScheme.MatchString(scheme) {
		return errors.New("must begin with redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	if rest == "" || strings.ContainsRune("/?#", rune(rest[0])) {
		return errors.New("must be redis://user:password@host:port/number")
	}
	*into = SecretURL(text)
	return nil
}

func parseBaseURL(into *string, text string) error {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" || u.RawQuery != "" || u.Fragment != "" {
		return errors.New("must be http://host:port or https://host")
	}
	if u.User != nil {
		return errors.New("must carry no user or password; the credential is the API key")
	}
	*into = strings.TrimRight(text, "/")
	return nil
}

func parseDir(into *string, text string) error { return parseFile(into, text) }

func parseFile(into *string, text string) error {
	if text == "" {
		*into = ""
		return nil
	}
	if strings.ContainsRune(text, 0) {
		return errors.New("is no path")
	}
	abs, err := filepath.Abs(text)
	if err != nil {
		return fmt.Errorf("find working directory: %w", err)
	}
	*into = abs
	return nil
}

func parseLevel(into *slog.Level, text string) error {
	var name string
	if err := parseOneOf(&name, text, "debug", "info", "warn", "error"); err != nil {
		return err
	}
	return into.UnmarshalText([]byte(name))
}

func parseOneOf(into *string, text string, names ...string) error {
	if !slices.Contains(names, text) {
		return fmt.Errorf("must be one of %s, is %s", strings.Join(names, ", "), quote(text))
	}
	*into = text
	return nil
}

// quote shows a bad value, shortened: it may be a whole file pasted into a variable.
func quote(text string) string {
	const most = 60
	if len(text) > most {
		text = text[:most] + "..."
	}
	return strconv.Quote(text)
}
