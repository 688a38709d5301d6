package cluster

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/taskweir/taskweir/test/faults/network"
)

// connect makes the links of Taskweir's processes to the servers and to the sink.
func (c *Cluster) connect(nsqds, lookupds map[string]string) error {
	upstream := map[string]string{"mariadb": c.maria.Addr(), "redis": c.redis.Addr(), "sink": c.o.Sink}
	for name, addr := range nsqds {
		upstream[name] = addr
	}
	links := Standard().Links
	slices.SortStableFunc(links, func(a, b Pair) int { // a view names the links to the nsqds
		return cmp.Compare(strings.Index(string(a.ToRole), string(NSQLookupd)), strings.Index(string(b.ToRole), string(NSQLookupd)))
	})
	for _, p := range links {
		switch {
		case !p.FromRole.Ours(), p.ToRole == Sink && c.o.Sink == "":
			continue
		case p.ToRole == NSQLookupd:
			v, err := OpenView(lookupds[p.To], c.portsFor(p.From, nsqds))
			if err != nil {
				return err
			}
			c.views = append(c.views, v)
			upstream[p.To] = v.Addr()
		}
		if _, err := c.Net.Connect(p.From, p.To, upstream[p.To]); err != nil {
			return err
		}
	}
	if c.o.Sink == "" {
		return nil
	}
	var err error
	c.door, err = OpenDoor(c.visitors)
	return err
}

// portsFor says over which ports a worker reaches the nsqds.
func (c *Cluster) portsFor(worker string, nsqds map[string]string) map[string]int {
	ports := map[string]int{}
	for name, addr := range nsqds {
		if l := c.link(worker, name); l != nil {
			_, port, _ := net.SplitHostPort(l.Addr()) // it is an address
			ports[addr], _ = strconv.Atoi(port)
		}
	}
	return ports
}

func (c *Cluster) link(from, to string) *network.Link { return c.Net.Find(from + network.Arrow + to) }

// to is the address over which a process reaches a server.
func (c *Cluster) to(from, server string) string { return c.link(from, server).Addr() }

// visitors are the workers that may come to the sink's door.
func (c *Cluster) visitors() (all []Visitor) {
	for _, u := range c.Units() {
		if u.Role == Worker {
			all = append(all, Visitor{u.PID(), c.to(u.Name, "sink")})
		}
	}
	return all
}

// SinkURL is what tasks call to reach the sink, whichever worker runs them; empty when there is none.
func (c *Cluster) SinkURL() string {
	if c.door == nil {
		return ""
	}
	return "http://" + c.door.Addr()
}

// APIs are the base URLs over which clients reach the APIs.
func (c *Cluster) APIs() (urls []string) {
	for _, name := range Standard().Named(API) {
		urls = append(urls, "http://"+c.to("client", name))
	}
	return urls
}

// Direct are the base URLs of the APIs without links, for what the harness asks for itself.
func (c *Cluster) Direct() (urls []string) {
	for _, name := range Standard().Named(API) {
		urls = append(urls, "http://"+c.apis[name])
	}
	return urls
}

// env is the configuration of one process.
func (c *Cluster) env(m Member, own, points string) []string {
	env := append(c.Keys.Env(), "TASKWEIR_OUTBOUND_ALLOW=127.0.0.0/8", "TASKWEIR_FAULTS_ADDR="+points,
		fmt.Sprintf("TASKWEIR_DATABASE_URL=mysql://root@%s/%s", c.to(m.Name, "mariadb"), Database),
		fmt.Sprintf("TASKWEIR_REDIS_URL=redis://%s/", c.to(m.Name, "redis")))
	if m.Role == API {
		env = append(env, "TASKWEIR_HTTP_ADDR="+own)
	} else {
		env = append(env, "TASKWEIR_OPS_ADDR="+own)
	}
	server, setting := NSQD, "TASKWEIR_NSQ_NSQD="
	if seeks(m.Name) {
		server, setting = NSQLookupd, "TASKWEIR_NSQ_LOOKUPD="
	}
	var addrs []string
	for _, name := range Standard().Named(server) {
		addrs = append(addrs, c.to(m.Name, name))
	}
	return append(append(env, setting+strings.Join(addrs, ",")), c.o.Env...)
}
