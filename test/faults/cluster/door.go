package cluster

import (
	"bufio"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Door is the address that the tasks of all workers call. It passes each connection on to the address of the process that made
// it. A connection of nobody that it knows, or of a process that has already closed it, is closed.
type Door struct {
	listener net.Listener
	who      func() []Visitor

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil: closed
	wg    sync.WaitGroup
}

// Visitor is a process that may come, and where its connections are passed on to.
type Visitor struct {
	PID int
	To  string
}

var errNobody = errors.New("nobody whom the door knows has this connection")

// OpenDoor listens on a port of loopback. who is asked for each connection.
func OpenDoor(who func() []Visitor) (*Door, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the door to the sink: %w", err)
	}
	d := &Door{listener: l, who: who, conns: map[net.Conn]struct{}{}}
	d.wg.Go(d.serve)
	return d, nil
}

// Addr is where it listens.
func (d *Door) Addr() string { return d.listener.Addr().String() }

// Close closes every connection and waits.
func (d *Door) Close() error {
	err := d.listener.Close()
	d.mu.Lock()
	for c := range d.conns {
		_ = c.Close() // its copier closes it again
	}
	d.conns = nil
	d.mu.Unlock()
	d.wg.Wait()
	if err != nil {
		return fmt.Errorf("close the door to the sink: %w", err)
	}
	return nil
}

func (d *Door) serve() {
	for {
		c, err := d.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(10 * time.Millisecond) // out of files, perhaps
			continue
		}
		if d.keep(c) {
			d.wg.Go(func() { defer d.drop(c); d.pass(c) })
		}
	}
}

func (d *Door) keep(c net.Conn) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		_ = c.Close()
		return false
	}
	d.conns[c] = struct{}{}
	return true
}

func (d *Door) drop(c net.Conn) {
	_ = c.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.conns, c)
}

// pass copies both ways until one side has closed.
func (d *Door) pass(c net.Conn) {
	to, err := d.whose(c)
	if err != nil {
		return
	}
	up, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(context.Background(), "tcp", to)
	if err != nil || !d.keep(up) {
		return
	}
	defer d.drop(up)
	ends := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{c, up}, {up, c}} {
		go func() {
			_, _ = io.Copy(way[0], way[1]) // ends when one of them is closed
			_, _ = c.Close(), up.Close()
			ends <- struct{}{}
		}()
	}
	<-ends
	<-ends
}

// whose finds the visitor that has the other end of a connection.
func (d *Door) whose(c net.Conn) (string, error) {
	inode, err := inodeOf(c.RemoteAddr().String(), c.LocalAddr().String())
	if err != nil {
		return "", err
	}
	for _, v := range d.who() {
		if holds(v.PID, inode) {
			return v.To, nil
		}
	}
	return "", errNobody
}

// inodeOf finds the socket with these two addresses in the kernel's table.
func inodeOf(local, remote string) (string, error) {
	wantLocal, err := kernelForm(local)
	if err != nil {
		return "", err
	}
	wantRemote, err := kernelForm(remote)
	if err != nil {
		return "", err
	}
	f, err := os.Open("/proc/net/tcp")
	if err != nil {
		return "", fmt.Errorf("find whose connection it is: %w", err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		field := strings.Fields(lines.Text())
		if len(field) > 9 && field[1] == wantLocal && field[2] == wantRemote {
			return field[9], nil
		}
	}
	return "", errNobody
}

// kernelForm writes 127.0.0.1:80 as 0100007F:0050.
func kernelForm(addr string) (string, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return "", fmt.Errorf("find whose connection it is: %w", err)
	}
	ip := at.Addr().Unmap().As4()
	return strings.ToUpper(hex.EncodeToString([]byte{ip[3], ip[2], ip[1], ip[0]})) + fmt.Sprintf(":%04X", at.Port()), nil
}

// holds reports whether a process has a socket open.
func holds(pid int, inode string) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	f, err := os.Open(dir)
	if err != nil {
		return false
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		if to, err := os.Readlink(dir + name); err == nil && to == "socket:["+inode+"]" {
			return true
		}
	}
	return false
}
