package ipvsadm

import (
	"net/netip"
	"time"
)

// reverseTimeout is the default of Resolver.Timeout.
const reverseTimeout = 2 * time.Second

// want notes an address whose name the next lookup asks for.
func (r *Resolver) want(a netip.Addr) {
	if _, asked := r.reverse[a]; asked || !a.IsValid() {
		return
	}
	if r.reverse == nil {
		r.reverse = make(map[netip.Addr]string)
	}
	r.reverse[a] = ""
	r.wanted = append(r.wanted, a)
}

// lookup asks for the names of all wanted addresses. The time allowed is that
// of the Resolver, not of one lookup: it begins with the first.
func (r *Resolver) lookup() {
	unknown := r.lookupFile(r.wanted)
	r.wanted = r.wanted[:0]
	if len(unknown) == 0 || r.Hosts != "" || r.System == nil {
		return
	}
	if r.deadline.IsZero() {
		r.deadline = time.Now().Add(r.timeout())
	}
	for a, name := range r.System.Names(r.deadline, unknown) {
		r.reverse[a] = usableName(name)
	}
}

func (r *Resolver) timeout() time.Duration {
	if r.Timeout == 0 {
		return reverseTimeout
	}
	return r.Timeout
}

// lookupFile asks the hosts file, and returns the addresses that are not in it.
func (r *Resolver) lookupFile(wanted []netip.Addr) (unknown []netip.Addr) {
	h, err := r.hostsFile()
	if err != nil {
		return nil // numbers then
	}
	for _, a := range wanted {
		if name, ok := h.name[a]; ok {
			r.reverse[a] = usableName(name)
		} else {
			unknown = append(unknown, a)
		}
	}
	return unknown
}

// usableName returns the name, or "" if it has a byte that no host name has.
// Whoever answers for an address's network chooses its name: it must not be
// able to write to the terminal or to add words to a saved rule.
func usableName(name string) string {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c|0x20 && c|0x20 <= 'z', '0' <= c && c <= '9', c == '.', c == '_', c == '-' && i > 0:
		default:
			return ""
		}
	}
	return name
}
