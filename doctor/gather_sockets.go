package doctor

import (
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// sockets reads /proc/net/tcp and its like. Listening sockets come first.
func (g *gatherer) sockets() {
	g.Facts.Sockets = []Socket{}
	for _, t := range []struct {
		file  string
		proto ipvs.Protocol
		state map[string]SocketState
	}{
		{"tcp", ipvs.TCP, tcpStates}, {"tcp6", ipvs.TCP, tcpStates},
		{"udp", ipvs.UDP, udpStates}, {"udp6", ipvs.UDP, udpStates},
	} {
		for line := range lines(procNet + t.file) {
			if s, ok := parseSocket(line, t.state); ok && len(g.Facts.Sockets) < mostSockets {
				s.Protocol = t.proto
				g.Facts.Sockets = append(g.Facts.Sockets, s)
			}
		}
	}
	for line := range lines(procNet + "sctp/eps") {
		g.Facts.Sockets = append(g.Facts.Sockets, parseSCTP(line)...)
	}
}

// mostSockets: a host with more listeners than that has no use for the answer.
const mostSockets = 10_000

// States as /proc/net/tcp writes them (include/net/tcp_states.h).
var (
	tcpStates = map[string]SocketState{"0A": Listening, "02": SynSent, "03": SynReceived}
	udpStates = map[string]SocketState{"07": Listening}
)

// parseSocket reads "sl local_address rem_address st ...".
func parseSocket(line string, states map[string]SocketState) (s Socket, ok bool) {
	f := strings.Fields(line)
	if len(f) < 4 || states[f[3]] == 0 {
		return Socket{}, false
	}
	local, ok1 := parseHexAddr(f[1])
	remote, ok2 := parseHexAddr(f[2])
	return Socket{Local: local, Remote: remote, State: states[f[3]]}, ok1 && ok2
}

// parseHexAddr reads "0100007F:0050": words of the address in the machine's
// order, and the port.
func parseHexAddr(text string) (netip.AddrPort, bool) {
	word, num, ok := strings.Cut(text, ":")
	b, err := hex.DecodeString(word)
	port, err2 := strconv.ParseUint(num, 16, 16)
	if !ok || err != nil || err2 != nil || len(b) != 4 && len(b) != 16 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	a, _ := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(a.Unmap(), uint16(port)), true
}

// parseSCTP reads "ENDPT SOCK STY SST HBKT LPORT UID INODE LADDRS".
func parseSCTP(line string) (list []Socket) {
	f := strings.Fields(line)
	if len(f) < 9 || f[0] == "ENDPT" {
		return nil
	}
	port, err := strconv.ParseUint(f[5], 10, 16)
	for _, word := range f[8:] {
		if a, aerr := netip.ParseAddr(word); err == nil && aerr == nil {
			list = append(list, Socket{Protocol: ipvs.SCTP, Local: netip.AddrPortFrom(a, uint16(port)), State: Listening})
		}
	}
	return list
}

// sortByBase sorts paths by the name of the file.
func sortByBase(files []string) {
	slices.SortFunc(files, func(a, b string) int { return strings.Compare(filepath.Base(a), filepath.Base(b)) })
}
