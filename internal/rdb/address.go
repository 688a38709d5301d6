package rdb

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// parseURL reads the address of a Redis:
//
//	redis://[user:password@]host[:6379][/db]                    one server; rediss:// with TLS
//	redis-sentinel://[…@]host[:26379],host,…[/db]?master=name   servers found through sentinels; rediss-sentinel://
//	redis-cluster://[…@]host[:6379],host,…                      a cluster; rediss-cluster://
//
// Query: master (also master_name; makes redis:// a sentinel address), cluster=true (makes it a cluster), addr (further
// hosts), db, sentinel_user, sentinel_password, skip_verify=true. Anything else is an error. No error names a password.
func parseURL(raw string) (*redis.UniversalOptions, error) {
	scheme, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return nil, errors.New("redis url: must start with redis://, rediss://, redis-sentinel:// or redis-cluster://")
	}
	base, kind, _ := strings.Cut(scheme, "-")
	if base != "redis" && base != "rediss" || kind != "" && kind != "sentinel" && kind != "cluster" || strings.HasSuffix(scheme, "-") {
		return nil, fmt.Errorf("redis url: unknown scheme %q", scheme)
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, errors.New("redis url: query is not valid")
	}
	o := &redis.UniversalOptions{IsClusterMode: kind == "cluster"}
	hosts := authority
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		if o.Username, o.Password, err = userInfo(authority[:i]); err != nil {
			return nil, err
		}
		hosts = authority[i+1:]
	}
	if err := setQuery(o, query, path); err != nil {
		return nil, err
	}
	if (kind == "sentinel") != (o.MasterName != "") && (kind != "" || o.IsClusterMode) {
		return nil, errors.New("redis url: a sentinel address needs master=name, a cluster has none")
	}
	port := "6379"
	if o.MasterName != "" {
		port = "26379"
	}
	for _, h := range append(strings.Split(hosts, ","), query["addr"]...) {
		addr, err := hostPort(h, port)
		if err != nil {
			return nil, err
		}
		o.Addrs = append(o.Addrs, addr)
	}
	if len(o.Addrs) > 1 && o.MasterName == "" && !o.IsClusterMode {
		return nil, errors.New("redis url: several hosts need redis-cluster:// or redis-sentinel://")
	}
	if base == "rediss" {
		o.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: query.Get("skip_verify") == "true"}
		if len(o.Addrs) == 1 {
			o.TLSConfig.ServerName, _, _ = net.SplitHostPort(o.Addrs[0])
		}
	}
	return o, nil
}

func userInfo(s string) (user, password string, err error) {
	user, password, _ = strings.Cut(s, ":")
	if user, err = url.PathUnescape(user); err == nil {
		password, err = url.PathUnescape(password)
	}
	if err != nil {
		return "", "", errors.New("redis url: user or password is not percent-encoded correctly")
	}
	return user, password, nil
}

func setQuery(o *redis.UniversalOptions, query url.Values, path string) error {
	db := path
	for name := range query {
		v := query.Get(name)
		switch name {
		case "master", "master_name":
			o.MasterName = v
		case "cluster":
			o.IsClusterMode = o.IsClusterMode || v == "true"
		case "db":
			db = v
		case "sentinel_user":
			o.SentinelUsername = v
		case "sentinel_password":
			o.SentinelPassword = v
		case "addr", "skip_verify":
		default:
			return fmt.Errorf("redis url: unknown parameter %q", name)
		}
	}
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 {
		return errors.New("redis url: the database must be a number from 0")
	}
	if o.IsClusterMode && n != 0 {
		return errors.New("redis url: a cluster has database 0 only")
	}
	o.DB = n
	return nil
}

func hostPort(s, defaultPort string) (string, error) {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		host, port = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"), defaultPort
		if strings.Contains(host, ":") && net.ParseIP(host) == nil || strings.ContainsAny(host, "[]") {
			return "", fmt.Errorf("redis url: %q is not host:port", s)
		}
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 {
		return "", fmt.Errorf("redis url: port of %q must be 1 to 65535", s)
	}
	if host == "" {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port), nil
}
