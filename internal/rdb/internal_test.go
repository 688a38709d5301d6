package rdb

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

func TestParseURL(t *testing.T) {
	for _, c := range []struct{ url, want string }{
		{"redis://127.0.0.1:6379/", "[127.0.0.1:6379] db=0 user= pass= master= cluster=false tls=false"},
		{"redis://", "[127.0.0.1:6379] db=0 user= pass= master= cluster=false tls=false"},
		{"redis://:p%40ss@h/3", "[h:6379] db=3 user= pass=p@ss master= cluster=false tls=false"},
		{"rediss://u:p@h:7000?db=2", "[h:7000] db=2 user=u pass=p master= cluster=false tls=true"},
		{"redis://[::1]:7000/1", "[[::1]:7000] db=1 user= pass= master= cluster=false tls=false"},
		{"redis://[::1]", "[[::1]:6379] db=0 user= pass= master= cluster=false tls=false"},
		{"redis-sentinel://a,b:1,c/1?master=m", "[a:26379 b:1 c:26379] db=1 user= pass= master=m cluster=false tls=false"},
		{"redis://a?master_name=m&addr=b:2", "[a:26379 b:2] db=0 user= pass= master=m cluster=false tls=false"},
		{"redis-cluster://a,b:1", "[a:6379 b:1] db=0 user= pass= master= cluster=true tls=false"},
		{"rediss-cluster://a", "[a:6379] db=0 user= pass= master= cluster=true tls=true"},
		{"redis://a?cluster=true&addr=b", "[a:6379 b:6379] db=0 user= pass= master= cluster=true tls=false"},
	} {
		o, err := parseURL(c.url)
		if err != nil {
			t.Errorf("%s: %v", c.url, err)
			continue
		}
		got := fmt.Sprintf("%v db=%d user=%s pass=%s master=%s cluster=%v tls=%v", o.Addrs, o.DB, o.Username, o.Password, o.MasterName, o.IsClusterMode, o.TLSConfig != nil)
		if got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.url, got, c.want)
		}
	}
	for _, bad := range []string{"", "redis:/x", "http://h", "redis-://h", "redis-foo://h", "redis://h:0", "redis://h:99999", "redis://h/x", "redis://h/-1",
		"redis://h?nope=1", "redis://a,b", "redis-sentinel://a", "redis-cluster://a?master=m", "redis-cluster://a/1", "redis://a:b:c", "redis://u:%zz@h"} {
		if _, err := parseURL(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func FuzzParseURL(f *testing.F) {
	f.Add("redis://user:hunter2@[::1]:6379/1?master=m&addr=b")
	f.Add("rediss-cluster://a,b:1,c")
	f.Fuzz(func(t *testing.T, raw string) {
		o, err := parseURL(raw)
		if err != nil {
			return
		}
		if len(o.Addrs) == 0 {
			t.Fatal("no address")
		}
		for _, a := range o.Addrs {
			if _, _, err := net.SplitHostPort(a); err != nil {
				t.Fatalf("address %q", a)
			}
		}
	})
}

func TestErrorsNameNoPassword(t *testing.T) {
	for _, u := range []string{"redis://u:hunter2@h:bad", "redis://u:hunter2@a,b", "redis://u:hunter2%zz@h", "redis://u:hunter2@h?x=1"} {
		if _, err := parseURL(u); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v", u, err)
		}
	}
}

func TestKeysOfOneWorkerShareASlot(t *testing.T) {
	tag := func(k string) string { return k[strings.Index(k, "{")+1 : strings.Index(k, "}")] }
	if tag(liveKey(5)) != tag(signalChannel(5)) || tag(liveKey(5)) == tag(liveKey(6)) {
		t.Fatal("hash tags")
	}
	if k := nonceKey(1, strings.Repeat("x", 1<<20)); len(k) > 100 || strings.Contains(k, "xxx") {
		t.Fatalf("nonce key %.100s", k)
	}
}

func TestNonceMemoryIsBounded(t *testing.T) {
	n := &Nonces{used: make(map[nonceID]time.Duration), max: 3, born: time.Now()}
	for i := range 3 {
		if fresh, noted := n.remember(idOf(fmt.Sprint(i)), time.Minute); !fresh || !noted {
			t.Fatal("no room")
		}
	}
	if fresh, noted := n.remember(idOf("more"), time.Minute); !fresh || noted {
		t.Fatal("a full memory took one more")
	}
	n.next = 0
	for k := range n.used {
		n.used[k] = -time.Second
	}
	if _, noted := n.remember(idOf("more"), time.Minute); !noted || len(n.used) != 1 {
		t.Fatal("ended nonces are not forgotten")
	}
}
