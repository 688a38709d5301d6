package outbound

import (
	"fmt"
	"net/netip"
)

// Refused says that an address may not be reached. It is found with errors.As in what a request failed with.
type Refused struct {
	Addr netip.Addr
}

// Error names the address.
func (r *Refused) Error() string {
	return fmt.Sprintf("address %s is private or reserved and not allowed", r.Addr)
}

// reserved are the networks that are not on the public internet (IANA special-purpose registries), and the forms of IPv6
// that only wrap IPv4.
var reserved = prefixes(
	"0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
	"192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
	"224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
)

// global is all of IPv6 that was ever given out for the public internet. What is outside is refused, known or not: unique and
// link-local, multicast, compatible and translated IPv4, NAT64's local prefix, and what will be defined later.
var global = netip.MustParsePrefix("2000::/3")

// nat64 is the well-known prefix behind which a gateway reaches IPv4: the address that it wraps is looked at.
var nat64 = netip.MustParsePrefix("64:ff9b::/96")

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

// check refuses an address unless it is public or inside an allowed network.
func check(a netip.Addr, allow []netip.Prefix) error {
	a = a.Unmap().WithZone("")
	if inside(a, allow) {
		return nil
	}
	if nat64.Contains(a) {
		b := a.As16()
		if check(netip.AddrFrom4([4]byte(b[12:])), allow) != nil {
			return &Refused{Addr: a}
		}
		return nil
	}
	if !a.IsValid() || a.Is6() && !global.Contains(a) || inside(a, reserved) {
		return &Refused{Addr: a}
	}
	return nil
}

func inside(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}
