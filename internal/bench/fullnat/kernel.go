package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/fullnat/snat"
	"github.com/goipvs/goipvs/internal/lab/topo"
	"github.com/goipvs/goipvs/ipvs"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// track has room for all connections that are tracked, which is everybody's while
// a kernel's plane takes part, and that stay for two minutes: a small machine
// has it for 8192, and then drops what is new.
func track() error {
	const most = 1 << 20
	_, err := (sysctl.Netns{}).SetAll(sysctl.Setting{Knob: "net/netfilter/nf_conntrack_buckets", Value: strconv.Itoa(most / 4)},
		sysctl.Setting{Knob: "net/netfilter/nf_conntrack_max", Value: strconv.Itoa(most)})
	return err
}

// kernelPlane has the director's kernel do what the proxies do: IPVS by NAT,
// and local addresses by nftables. It has no process, so with it the CPU of the
// whole machine is compared.
func kernelPlane(n *topo.Net, base uint16) error {
	table, err := balance(n, base)
	if err != nil {
		return err
	}
	if err := track(); err != nil {
		return err
	}
	var local []snat.Service
	for _, e := range table {
		local = append(local, snat.Service{Key: e.Service.ServiceKey, Locals: locals()})
	}
	return n.Director.Do(func() error {
		if _, err := (sysctl.Netns{}).Set(sysctl.VS("conntrack"), "1"); err != nil {
			return err
		}
		_, err = new(snat.Plane).Apply(local)
		return err
	})
}

// balance has IPVS balance by NAT.
func balance(n *topo.Net, base uint16) (table ipvs.Table, err error) {
	for p := range uint16(ports) {
		proto := ipvs.TCP
		if p == portEcho {
			proto = ipvs.UDP
		}
		e := ipvs.Entry{Service: ipvs.Service{ServiceKey: ipvs.AddrService(proto, netip.AddrPortFrom(n.VIP4, base+p)), Scheduler: "wlc"}}
		for _, h := range n.Servers {
			e.Destinations = append(e.Destinations, ipvs.Destination{Addr: netip.AddrPortFrom(h.Addr4, serverBase+p), Method: ipvs.NAT, Weight: 1})
		}
		table = append(table, e)
	}
	return table, n.Director.Do(func() error {
		if _, err := (sysctl.Netns{}).Set(sysctl.Forward4, "1"); err != nil {
			return err
		}
		c, err := ipvs.Dial(ipvs.Options{})
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = ipvs.Reconcile(c, table, ipvs.ReconcileOptions{})
		return err
	})
}

// doNFTables has the director's kernel do it without IPVS: servers are counted off,
// too. It is less than the kernel's plane does, by what IPVS costs.
func doNFTables(n *topo.Net, base uint16) error {
	return n.Director.Do(func() error {
		if _, err := (sysctl.Netns{}).Set(sysctl.Forward4, "1"); err != nil {
			return err
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyIPv4, Name: "bench"})
		chain := c.AddChain(&nftables.Chain{Name: "prerouting", Table: table, Type: nftables.ChainTypeNAT, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest})
		var local []snat.Service
		for p := range uint16(ports) {
			proto := ipvs.TCP
			if p == portEcho {
				proto = ipvs.UDP
			}
			key := ipvs.AddrService(proto, netip.AddrPortFrom(n.VIP4, base+p))
			local = append(local, snat.Service{Key: key, Locals: locals()})
			servers := &nftables.Set{Table: table, Anonymous: true, Constant: true, IsMap: true,
				KeyType: nftables.TypeInteger, DataType: nftables.TypeIPAddr, KeyByteOrder: binaryutil.NativeEndian}
			var elements []nftables.SetElement
			for i, h := range n.Servers {
				elements = append(elements, nftables.SetElement{Key: binaryutil.NativeEndian.PutUint32(uint32(i)), Val: h.Addr4.AsSlice()})
			}
			if err := c.AddSet(servers, elements); err != nil {
				return err
			}
			c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
				&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1}, equals([]byte{byte(proto)}),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4}, equals(key.Addr.Addr().AsSlice()),
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2}, equals(binaryutil.BigEndian.PutUint16(key.Addr.Port())),
				&expr.Numgen{Register: 1, Modulus: uint32(len(elements)), Type: unix.NFT_NG_INCREMENTAL},
				&expr.Lookup{SourceRegister: 1, DestRegister: 1, IsDestRegSet: true, SetID: servers.ID, SetName: servers.Name},
				&expr.Immediate{Register: 2, Data: binaryutil.BigEndian.PutUint16(serverBase + p)},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: unix.NFPROTO_IPV4, RegAddrMin: 1, RegProtoMin: 2, Specified: true},
			}})
		}
		if err := c.Flush(); err != nil {
			return err
		}
		_, err = new(snat.Plane).Apply(local)
		return err
	})
}

func equals(b []byte) *expr.Cmp { return &expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: b} }

// softirqCPU is what the kernel's threads for packets have run, in nanoseconds.
func softirqCPU() (sum float64) {
	names, _ := filepath.Glob("/proc/[0-9]*/comm")
	for _, name := range names {
		comm, _ := os.ReadFile(name)
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(name))); err == nil && strings.HasPrefix(string(comm), "ksoftirqd/") {
			sum += cpuOf(pid)
		}
	}
	return sum
}

// machineCPU is what all CPUs have worked, in nanoseconds (/proc/stat, in
// hundredths of a second).
func machineCPU() (sum float64) {
	text, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(text), "\n")
	for i, word := range strings.Fields(line)[1:] {
		if i == 3 || i == 4 || i > 6 { // idle, iowait, and time of others
			continue
		}
		n, _ := strconv.ParseFloat(word, 64)
		sum += n * 1e7
	}
	return sum
}
