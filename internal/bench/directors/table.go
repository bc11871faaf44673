package main

import (
	"encoding/hex"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// table is what /proc/net/ip_vs says: the weights of real servers by the port of
// the virtual address. It is one read where asking for each service takes more
// time than what is measured.
type table map[int]map[netip.AddrPort]int

func readTable() (table, error) {
	b, err := os.ReadFile("/proc/net/ip_vs")
	if err != nil {
		return nil, err
	}
	t := make(table)
	var servers map[netip.AddrPort]int
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		switch {
		case strings.HasPrefix(line, "TCP "):
			servers = make(map[netip.AddrPort]int)
			t[int(hexAddr(f[1]).Port())] = servers
		case strings.HasPrefix(line, "  -> ") && servers != nil && len(f) > 3:
			servers[hexAddr(f[1])], _ = strconv.Atoi(f[3])
		}
	}
	return t, nil
}

// hexAddr reads 0A090001:0050.
func hexAddr(s string) netip.AddrPort {
	a, p, _ := strings.Cut(s, ":")
	raw, err := hex.DecodeString(a)
	if err != nil || len(raw) != 4 {
		return netip.AddrPort{}
	}
	port, _ := strconv.ParseUint(p, 16, 16)
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(raw)), uint16(port))
}

// in counts the real servers that get traffic.
func (t table) in() (n int) {
	for _, servers := range t {
		for _, weight := range servers {
			if weight > 0 {
				n++
			}
		}
	}
	return n
}

func (t table) weight(port int, server netip.AddrPort) int { return t[port][server] }
