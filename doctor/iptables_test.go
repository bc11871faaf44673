package doctor_test

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab"
)

// The kernel's side of iptables (include/uapi/linux/netfilter_ipv4/ip_tables.h):
// a table is written whole.

var tableHooks = map[string][]int{"filter": {1, 2, 3}, "nat": {0, 1, 3, 4}, "mangle": {0, 1, 2, 3, 4}, "raw": {0, 3}}

var hookNumbers = map[string]int{"prerouting": 0, "input": 1, "forward": 2, "output": 3, "postrouting": 4}

// builtTable is a table as the kernel takes and gives it.
type builtTable struct {
	entries              []byte
	number               uint32
	hooks                uint32
	hookEntry, underflow [5]uint32
}

// build makes a table in which all hooks but that of the spec are empty.
func build(c filterSpec) (t builtTable) {
	table := c.table
	if table == "keepalived" {
		table = "filter"
	}
	add := func(e []byte) { t.entries = append(t.entries, e...); t.number++ }
	for _, h := range tableHooks[table] {
		t.hooks |= 1 << h
		t.hookEntry[h] = uint32(len(t.entries))
		policy := standard(false)
		if c.hook != "" && hookNumbers[c.hook] == h {
			for _, r := range c.rules {
				add(r.entry())
			}
			policy = standard(c.drop)
		}
		t.underflow[h] = uint32(len(t.entries))
		add(entry(ruleSpec{}, nil, policy))
	}
	add(entry(ruleSpec{}, nil, target("ERROR", 0, append([]byte("ERROR"), make([]byte, 27)...))))
	return t
}

// replaceTable installs a table on the calling thread's network namespace.
func replaceTable(c filterSpec) error {
	name := c.table
	if name == "keepalived" {
		name = "filter"
	}
	if err := loadTable(name); err != nil {
		return err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	info := make([]byte, 84)
	var errno unix.Errno
	for range 3 { // user-mode Linux says EFAULT now and then, and not again
		copy(info, name)
		size := uint32(len(info))
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, 64, uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
		if errno != unix.EFAULT {
			break
		}
	}
	if errno != 0 {
		return fmt.Errorf("table %s: %w", name, os.NewSyscallError("getsockopt", errno))
	}
	old := binary.NativeEndian.Uint32(info[76:])
	counters := make([]byte, 16*(old+1))
	pinned := new(runtime.Pinner)
	defer pinned.Unpin()
	pinned.Pin(&counters[0])

	t, ne := build(c), binary.NativeEndian
	b := append([]byte(name), make([]byte, 32-len(name))...)
	b = ne.AppendUint32(ne.AppendUint32(ne.AppendUint32(b, t.hooks), t.number), uint32(len(t.entries)))
	for _, list := range [][5]uint32{t.hookEntry, t.underflow} {
		for _, n := range list {
			b = ne.AppendUint32(b, n)
		}
	}
	b = ne.AppendUint32(b, old)
	b = ne.AppendUint64(b, uint64(uintptr(unsafe.Pointer(&counters[0]))))
	b = append(b, t.entries...)
	if _, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, 64, uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0); errno != 0 {
		return fmt.Errorf("table %s: %w", name, os.NewSyscallError("setsockopt", errno))
	}
	return nil
}

var tablesLoaded = map[string]bool{}

func loadTable(name string) error {
	if tablesLoaded[name] {
		return nil
	}
	tablesLoaded[name] = true
	return lab.Load("iptable_"+name, "xt_tcpudp", "xt_conntrack", "ipt_REJECT", "xt_MASQUERADE", "xt_mark", "xt_nat", "xt_ipvs")
}

// entry is struct ipt_entry with its matches and target.
func entry(r ruleSpec, matches, target []byte) []byte {
	b := make([]byte, 112)
	address := func(a netip.Addr, at, mask int) {
		if a.IsValid() {
			copy(b[at:], a.AsSlice())
			copy(b[mask:], []byte{255, 255, 255, 255})
		}
	}
	address(r.from, 0, 8)
	address(r.to, 4, 12)
	ne := binary.NativeEndian
	ne.PutUint16(b[80:], uint16(r.proto))
	ne.PutUint16(b[88:], uint16(112+len(matches)))
	ne.PutUint16(b[90:], uint16(112+len(matches)+len(target)))
	return slices.Concat(b, matches, target)
}

func (r ruleSpec) entry() []byte {
	var matches []byte
	ne := binary.NativeEndian
	if r.port != 0 {
		ports := ne.AppendUint16(ne.AppendUint16([]byte{0, 0, 0xff, 0xff}, r.port), r.port)
		if r.proto == unix.IPPROTO_TCP {
			matches = target("tcp", 0, append(ports, make([]byte, 8)...))
		} else {
			matches = target("udp", 0, append(ports, make([]byte, 8)...))
		}
	}
	if r.states != 0 {
		ct := make([]byte, 168)
		ne.PutUint16(ct[146:], 1)
		ne.PutUint16(ct[150:], uint16(r.states))
		matches = append(matches, target("conntrack", 3, ct)...)
	}
	if r.vip.IsValid() { // as -m ipvs --vaddr
		m := make([]byte, 40)
		copy(m, r.vip.AsSlice())
		copy(m[16:], []byte{255, 255, 255, 255})
		m[39] = 1<<0 | 1<<2 // XT_IPVS_IPVS_PROPERTY, XT_IPVS_VADDR
		matches = append(matches, target("ipvs", 0, m)...)
	}
	return entry(r, matches, r.target())
}

func (r ruleSpec) target() []byte {
	ne := binary.NativeEndian
	switch r.verdict {
	case "accept":
		return standard(false)
	case "reject":
		return target("REJECT", 0, []byte{8, 0, 0, 0, 0, 0, 0, 0}) // IPT_ICMP_ADMIN_PROHIBITED
	case "masquerade":
		return target("MASQUERADE", 0, append([]byte{1, 0, 0, 0}, make([]byte, 20)...))
	case "snat":
		flags := uint32(1) // NF_NAT_RANGE_MAP_IPS
		if r.ports[1] > 0 {
			flags |= 2 // NF_NAT_RANGE_PROTO_SPECIFIED
		}
		b := slices.Concat(ne.AppendUint32(ne.AppendUint32(nil, 1), flags), r.lip.AsSlice(), r.lip.AsSlice())
		for _, port := range r.ports {
			b = binary.BigEndian.AppendUint16(b, port)
		}
		return target("SNAT", 0, append(b, 0, 0, 0, 0))
	case "mark":
		return target("MARK", 2, ne.AppendUint32(ne.AppendUint32(nil, r.mark), 0xffffffff))
	}
	return standard(true)
}

// target is struct xt_entry_target, and xt_entry_match, which is the same.
func target(name string, revision byte, data []byte) []byte {
	b := binary.NativeEndian.AppendUint16(nil, uint16(32+len(data)))
	b = append(b, name...)
	b = append(b, make([]byte, 31-len(b))...)
	return append(append(b, revision), data...)
}

func standard(drop bool) []byte {
	v := int32(-2)
	if drop {
		v = -1
	}
	return target("", 0, binary.NativeEndian.AppendUint64(nil, uint64(uint32(v))))
}
