package outbound

import (
	"net"
	"net/netip"
	"testing"
)

// TestNeighboursOfReservedNetworks: the first and last address of each reserved network are refused, and the ones just outside
// are not, unless they are in another network of the list.
func TestNeighboursOfReservedNetworks(t *testing.T) {
	for _, c := range []struct{ first, last, before, after string }{
		{"0.0.0.0", "0.255.255.255", "", "1.0.0.0"},
		{"10.0.0.0", "10.255.255.255", "9.255.255.255", "11.0.0.0"},
		{"100.64.0.0", "100.127.255.255", "100.63.255.255", "100.128.0.0"},
		{"127.0.0.0", "127.255.255.255", "126.255.255.255", "128.0.0.0"},
		{"169.254.0.0", "169.254.255.255", "169.253.255.255", "169.255.0.0"},
		{"172.16.0.0", "172.31.255.255", "172.15.255.255", "172.32.0.0"},
		{"192.0.0.0", "192.0.0.255", "191.255.255.255", "192.0.1.0"},
		{"192.0.2.0", "192.0.2.255", "192.0.1.255", "192.0.3.0"},
		{"192.88.99.0", "192.88.99.255", "192.88.98.255", "192.88.100.0"},
		{"192.168.0.0", "192.168.255.255", "192.167.255.255", "192.169.0.0"},
		{"198.18.0.0", "198.19.255.255", "198.17.255.255", "198.20.0.0"},
		{"198.51.100.0", "198.51.100.255", "198.51.99.255", "198.51.101.0"},
		{"203.0.113.0", "203.0.113.255", "203.0.112.255", "203.0.114.0"},
		{"224.0.0.0", "255.255.255.255", "223.255.255.255", ""},
		{"2001::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:200::"},
		{"2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", "2001:db9::"},
		{"2002::", "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "2003::"},
		{"3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:1000::"},
		{"::", "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", "", ""},
		{"64:ff9b::1:0:0", "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "", "2000::"},
		{"4000::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", ""},
	} {
		for text, ok := range map[string]bool{c.first: false, c.last: false, c.before: true, c.after: true} {
			if text == "" {
				continue
			}
			a := netip.MustParseAddr(text)
			if err := check(a, nil); (err == nil) != ok {
				t.Errorf("%s: %v, want public %v", a, err, ok)
			}
			if !a.Is4() {
				continue
			}
			b := a.As4() // the same, mapped and behind NAT64; compatible, translated, 6to4 and Teredo forms are never public
			if err := check(netip.AddrFrom16(a.As16()), nil); (err == nil) != ok {
				t.Errorf("%s mapped: %v", a, err)
			}
			if err := check(wrap("64:ff9b::", 12, b), nil); (err == nil) != ok {
				t.Errorf("%s behind NAT64: %v", a, err)
			}
			for _, form := range []netip.Addr{
				wrap("::", 12, b), wrap("::ffff:0:0:0", 12, b), wrap("2002::", 2, b), wrap("2001::", 4, b), wrap("64:ff9b:1::", 12, b),
				wrap("2001::", 12, [4]byte{^b[0], ^b[1], ^b[2], ^b[3]}), wrap("fe80::5efe:0:0", 12, b),
			} {
				if check(form, nil) == nil {
					t.Errorf("%s wrapped as %s is public", a, form)
				}
			}
		}
	}
	if check(netip.Addr{}, netPrefixes("0.0.0.0/0", "::/0")) == nil {
		t.Error("no address at all is public")
	}
}

// wrap writes an IPv4 address into an IPv6 address.
func wrap(prefix string, at int, v4 [4]byte) netip.Addr {
	b := netip.MustParseAddr(prefix).As16()
	copy(b[at:], v4[:])
	return netip.AddrFrom16(b)
}

// FuzzGuard: whatever the standard library takes for private, local or multicast is refused; a mapped address is judged like the
// one that it maps; allowing a network changes nothing outside of it.
func FuzzGuard(f *testing.F) {
	for _, s := range []string{"127.0.0.1", "::1", "64:ff9b::a9fe:a9fe", "2606:4700::1111", "8.8.8.8", "fe80::1"} {
		f.Add(netip.MustParseAddr(s).AsSlice())
	}
	allowed := netPrefixes("10.1.0.0/16", "fd00:1::/32")
	f.Fuzz(func(t *testing.T, raw []byte) {
		a, ok := netip.AddrFromSlice(raw)
		if !ok {
			return
		}
		public := check(a, nil) == nil
		ip := net.IP(a.AsSlice())
		if public && (ip.IsPrivate() || ip.IsLoopback() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLinkLocalUnicast() || !ip.IsGlobalUnicast()) {
			t.Errorf("%s is public", a)
		}
		if a.Is4() && (check(netip.AddrFrom16(a.As16()), nil) == nil) != public {
			t.Errorf("%s mapped is judged otherwise", a)
		}
		in := inside(a.Unmap(), allowed) || nat64.Contains(a) && inside(netip.AddrFrom4([4]byte(a.AsSlice()[12:])), allowed)
		if (check(a, allowed) == nil) != (public || in) {
			t.Errorf("%s with a list: %v", a, check(a, allowed))
		}
	})
}
