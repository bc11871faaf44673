package fullnat

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// What ParseProxyHeader finds wrong.
var (
	ErrNoHeader     = errors.New("no PROXY header")
	ErrShortHeader  = errors.New("PROXY header is not complete yet")
	ErrBrokenHeader = errors.New("broken PROXY header")
)

// ProxyHeader is a PROXY header that a peer has sent.
type ProxyHeader struct {
	Version  ProxyProtocol
	Length   int // in bytes
	Protocol ipvs.Protocol
	// Client and Virtual are not valid when the peer speaks for itself (LOCAL,
	// UNKNOWN) or has no such addresses (unix sockets).
	Client, Virtual netip.AddrPort
}

const (
	v1Prefix  = "PROXY "
	v1Longest = 107
	v2Fixed   = 16
)

// ParseProxyHeader reads the header that b begins with. ErrShortHeader asks for
// more bytes; ErrNoHeader says that more of them would not make it one. Extensions
// of version 2 (TLV) are within Length and not looked at.
func ParseProxyHeader(b []byte) (ProxyHeader, error) {
	switch {
	case bytes.HasPrefix(b, []byte(v2Signature)):
		return parseV2(b)
	case bytes.HasPrefix(b, []byte(v1Prefix)):
		return parseV1(b)
	case strings.HasPrefix(v1Prefix, string(b)) || strings.HasPrefix(v2Signature, string(b)):
		return ProxyHeader{}, ErrShortHeader
	}
	return ProxyHeader{}, ErrNoHeader
}

func parseV1(b []byte) (ProxyHeader, error) {
	line, _, ok := bytes.Cut(b[:min(len(b), v1Longest)], []byte("\r\n"))
	switch {
	case !ok && len(b) < v1Longest:
		return ProxyHeader{}, ErrShortHeader
	case !ok:
		return ProxyHeader{}, ErrBrokenHeader
	}
	h := ProxyHeader{Version: ProxyV1, Length: len(line) + 2, Protocol: ipvs.TCP}
	words := strings.Split(string(line), " ")
	if words[1] == "UNKNOWN" { // and anything behind it
		return h, nil
	}
	if len(words) != 6 || words[1] != "TCP4" && words[1] != "TCP6" {
		return ProxyHeader{}, ErrBrokenHeader
	}
	var ok1, ok2 bool
	h.Client, ok1 = parseV1Addr(words[1] == "TCP6", words[2], words[4])
	h.Virtual, ok2 = parseV1Addr(words[1] == "TCP6", words[3], words[5])
	if !ok1 || !ok2 {
		return ProxyHeader{}, ErrBrokenHeader
	}
	return h, nil
}

func parseV1Addr(six bool, addr, port string) (netip.AddrPort, bool) {
	a, err := netip.ParseAddr(addr)
	p, errPort := strconv.ParseUint(port, 10, 16)
	if err != nil || errPort != nil || a.Is6() != six || a.Zone() != "" {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(a, uint16(p)), true
}

func parseV2(b []byte) (ProxyHeader, error) {
	if len(b) < v2Fixed {
		return ProxyHeader{}, ErrShortHeader
	}
	command, kind := b[12], b[13]
	h := ProxyHeader{Version: ProxyV2, Length: v2Fixed + int(binary.BigEndian.Uint16(b[14:]))}
	if command>>4 != 2 || command&15 > 1 || kind>>4 > 3 || kind&15 > 2 {
		return ProxyHeader{}, ErrBrokenHeader
	}
	if len(b) < h.Length {
		return ProxyHeader{}, ErrShortHeader
	}
	h.Protocol = [...]ipvs.Protocol{0, ipvs.TCP, ipvs.UDP}[kind&15]
	size := [...]int{0, 4, 16, 0}[kind>>4]
	if command&15 == 0 || size == 0 { // LOCAL, or addresses of no network
		return h, nil
	}
	at := b[v2Fixed:h.Length]
	if len(at) < 2*size+4 {
		return ProxyHeader{}, ErrBrokenHeader
	}
	client, _ := netip.AddrFromSlice(at[:size])
	virtual, _ := netip.AddrFromSlice(at[size : 2*size])
	h.Client = netip.AddrPortFrom(client, binary.BigEndian.Uint16(at[2*size:]))
	h.Virtual = netip.AddrPortFrom(virtual, binary.BigEndian.Uint16(at[2*size+2:]))
	return h, nil
}

// AppendAs appends the header in a version. Without addresses it says that the
// peer speaks for itself.
func (h ProxyHeader) AppendAs(b []byte, v ProxyProtocol) []byte {
	switch {
	case h.Client.IsValid():
		return AppendProxyHeader(b, v, h.Protocol, h.Client, h.Virtual)
	case v == ProxyV1:
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	return append(b, v2Signature+"\x20\x00\x00\x00"...)
}
