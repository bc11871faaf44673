package doctor

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// iptables reads the tables of the old iptables and ip6tables, of which the
// kernel names those that are there.
func (g *gatherer) iptables() error {
	for _, t := range []struct {
		names  string
		layout xtLayout
	}{{"ip_tables_names", layout4}, {"ip6_tables_names", layout6}} {
		for name := range lines(procNet + t.names) {
			b, info, err := t.layout.read(name)
			if err != nil {
				return err
			}
			chains, err := t.layout.parse(name, b, info)
			if err != nil {
				return err
			}
			g.Firewall.Chains = append(g.Firewall.Chains, chains...)
		}
	}
	return nil
}

// xtLayout is where things are in struct ipt_entry, or ip6t_entry.
type xtLayout struct {
	backend       string
	domain, level int
	family        int
	addr          int // size of an address
	ifaces        int // offset of the names: in, out, and their masks
	proto         int // u16; flags and inverted flags follow, IPv6 has tos between
	flags         int
	size          int // of the entry: where matches begin
	target        int // offset of target_offset, u16, followed by next_offset
}

var (
	layout4 = xtLayout{backend: "iptables", domain: unix.AF_INET, level: unix.IPPROTO_IP, family: 4, addr: 4,
		ifaces: 16, proto: 80, flags: 82, size: 112, target: 88}
	layout6 = xtLayout{backend: "ip6tables", domain: unix.AF_INET6, level: unix.IPPROTO_IPV6, family: 6, addr: 16,
		ifaces: 64, proto: 128, flags: 131, size: 168, target: 140}
)

// xtInfo is struct ipt_getinfo.
type xtInfo struct {
	Name       [32]byte
	ValidHooks uint32
	HookEntry  [5]uint32
	Underflow  [5]uint32
	Entries    uint32
	Size       uint32
}

const (
	xtGetInfo    = 64 // IPT_SO_GET_INFO
	xtGetEntries = 65 // IPT_SO_GET_ENTRIES
	xtHead       = 40 // name, size, and what aligns the entries
)

var errXT = errors.New("unexpected entry in a table of iptables")

// read gets the entries of a table as they are in the kernel.
func (l xtLayout) read(name string) ([]byte, xtInfo, error) {
	var info xtInfo
	fd, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, info, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	for range 5 { // others may write meanwhile
		copy(info.Name[:31], name)
		if err := getsockopt(fd, l.level, xtGetInfo, unsafe.Slice((*byte)(unsafe.Pointer(&info)), unsafe.Sizeof(info))); err != nil {
			return nil, info, fmt.Errorf("%s table %s: %w", l.backend, name, err)
		}
		b := make([]byte, xtHead+int(info.Size))
		copy(b[:31], name)
		binary.NativeEndian.PutUint32(b[32:], info.Size)
		err := getsockopt(fd, l.level, xtGetEntries, b)
		if errors.Is(err, unix.EAGAIN) {
			continue
		}
		if err != nil {
			return nil, info, fmt.Errorf("%s table %s: %w", l.backend, name, err)
		}
		return b[xtHead:], info, nil
	}
	return nil, info, fmt.Errorf("%s table %s: others kept changing it", l.backend, name)
}

func getsockopt(fd, level, name int, b []byte) error {
	var errno unix.Errno
	for range 3 { // user-mode Linux says EFAULT now and then, and not again
		size := uint32(len(b))
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), uintptr(level), uintptr(name),
			uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != unix.EFAULT {
			break
		}
	}
	if errno != 0 {
		return os.NewSyscallError("getsockopt", errno)
	}
	return nil
}

// Standard verdicts (XT_STANDARD_TARGET): -NF_x-1; a number not below zero is
// the offset of a chain.
const (
	xtDrop   = -1
	xtAccept = -2
	xtReturn = -5
)

// xtRule is an entry and the chain it leads to.
type xtRule struct {
	FilterRule
	jump  int    // offset, or -1
	chain string // an ERROR target: the name of the chain that begins behind it
	at    int
}

// parse turns the entries into chains. It is pure.
func (l xtLayout) parse(table string, b []byte, info xtInfo) ([]Chain, error) {
	var rules []xtRule
	for at := 0; at < len(b); {
		r, next, err := l.entry(b, at)
		if err != nil {
			return nil, err
		}
		rules = append(rules, r)
		at += next
	}
	var chains []Chain
	names := map[int]string{}
	for i, r := range rules {
		c, ok := l.begin(table, rules, i, info)
		if ok {
			chains = append(chains, c)
			names[r.at] = c.Name
			if r.chain != "" && i+1 < len(rules) {
				names[rules[i+1].at] = c.Name
			}
		}
		if len(chains) > 0 && r.chain == "" {
			last := &chains[len(chains)-1]
			last.Rules = append(last.Rules, r.FilterRule)
		}
	}
	l.resolve(chains, rules, names)
	return finish(chains), nil
}

// begin tells whether a chain begins at the entry: a hook's, or one of its own
// behind an ERROR entry.
func (l xtLayout) begin(table string, rules []xtRule, i int, info xtInfo) (Chain, bool) {
	c := Chain{Backend: l.backend, Family: l.family, Table: table, NAT: table == "nat", Priority: xtPriority[table]}
	for h := range hooks {
		if info.ValidHooks&(1<<h) != 0 && int(info.HookEntry[h]) == rules[i].at {
			c.Hook = hooks[h]
			c.Name = [...]string{"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"}[h]
			c.Drop = l.policy(rules, int(info.Underflow[h]))
			return c, true
		}
	}
	if name := rules[i].chain; name != "" && name != "ERROR" {
		c.Name = name
		return c, true
	}
	return c, false
}

var xtPriority = map[string]int{"raw": -300, "mangle": -150, "nat": 100, "filter": 0, "security": 50}

func (l xtLayout) policy(rules []xtRule, at int) bool {
	for _, r := range rules {
		if r.at == at {
			return r.Verdict == Drop
		}
	}
	return false
}

// resolve names the chains that rules jump to; a chain's own rules begin behind
// its ERROR entry, and jumps point there.
func (l xtLayout) resolve(chains []Chain, rules []xtRule, names map[int]string) {
	i := 0
	for _, r := range rules {
		if r.chain != "" {
			continue
		}
		for c, n := 0, i; c < len(chains); c++ {
			if n < len(chains[c].Rules) {
				if r.jump >= 0 {
					chains[c].Rules[n].Target = names[r.jump]
				}
				break
			}
			n -= len(chains[c].Rules)
		}
		i++
	}
}

// finish takes the last entry of each chain away, which is its policy or its
// return.
func finish(chains []Chain) []Chain {
	for i := range chains {
		if n := len(chains[i].Rules); n > 0 {
			chains[i].Rules = chains[i].Rules[:n-1]
		}
	}
	return chains
}

// entry reads one entry, and how long it is.
func (l xtLayout) entry(b []byte, at int) (r xtRule, next int, err error) {
	e := b[at:]
	if len(e) < l.size {
		return r, 0, errXT
	}
	target, next := int(binary.NativeEndian.Uint16(e[l.target:])), int(binary.NativeEndian.Uint16(e[l.target+2:]))
	if target < l.size || next < target+32 || next > len(e) {
		return r, 0, errXT
	}
	r = xtRule{jump: -1, at: at}
	r.Matches = l.head(e)
	for m := e[l.size:target]; len(m) >= 32; {
		size := int(binary.NativeEndian.Uint16(m))
		if size < 32 || size > len(m) {
			return r, 0, errXT
		}
		r.Matches = append(r.Matches, xtMatches(cString(m[2:31]), m[32:size])...)
		m = m[size:]
	}
	l.aim(&r, e[target:next])
	for _, m := range r.Matches {
		r.Text += describe(m) + " "
	}
	r.Text += map[Verdict]string{Accept: "ACCEPT", Drop: "DROP", Return: "RETURN", SNAT: "SNAT", Masquerade: "MASQUERADE", SetMark: "MARK"}[r.Verdict]
	return r, next, nil
}

// aim reads the target.
func (l xtLayout) aim(r *xtRule, t []byte) {
	name, data := cString(t[2:31]), t[32:]
	switch {
	case name == "ERROR":
		r.chain = cString(data)
		if r.chain == "" {
			r.chain = "ERROR"
		}
	case name != "":
		matches := r.Matches
		r.FilterRule = xtTarget(name, data)
		r.Matches = matches
	case len(data) < 4:
		r.Verdict = Unclear
	default:
		switch v := int32(binary.NativeEndian.Uint32(data)); {
		case v == xtAccept:
			r.Verdict = Accept
		case v == xtDrop:
			r.Verdict = Drop
		case v == xtReturn:
			r.Verdict = Return
		case v >= 0:
			r.Verdict, r.jump = Jump, int(v)
		default:
			r.Verdict = Unclear
		}
	}
}

// head reads what every entry can say: addresses, interfaces, protocol.
func (l xtLayout) head(e []byte) (list []Match) {
	flags, inv := e[l.flags], e[l.flags+1]
	address := func(f Field, at, mask int, not bool) {
		if m := e[mask : mask+l.addr]; !zero(m) {
			v := bytes.Clone(e[at : at+l.addr])
			for i := range v {
				v[i] &= m[i]
			}
			list = append(list, Match{Field: f, Mask: bytes.Clone(m), Ranges: exactly(v), Not: not})
		}
	}
	address(Source, 0, 2*l.addr, inv&0x08 != 0)           // IPT_INV_SRCIP
	address(Destination, l.addr, 3*l.addr, inv&0x10 != 0) // IPT_INV_DSTIP
	name := func(f Field, at int, not bool) {
		n, mask := e[at:at+16], e[at+32:at+48]
		if size := len(bytes.TrimRight(mask, "\x00")); size > 0 {
			list = append(list, Match{Field: f, Ranges: exactly(bytes.Clone(n[:size])), Not: not})
		}
	}
	name(InIface, l.ifaces, inv&0x01 != 0)     // IPT_INV_VIA_IN
	name(OutIface, l.ifaces+16, inv&0x02 != 0) // IPT_INV_VIA_OUT
	if p := binary.NativeEndian.Uint16(e[l.proto:]); p != 0 {
		list = append(list, Match{Field: L4Proto, Ranges: exactly([]byte{byte(p)}), Not: inv&0x40 != 0}) // XT_INV_PROTO
	}
	if l.family == 4 && flags&0x01 != 0 { // IPT_F_FRAG: never the first fragment
		list = append(list, Match{Field: Other})
	}
	return list
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }

func cString(b []byte) string {
	b, _, _ = bytes.Cut(b, []byte{0})
	return string(b)
}
