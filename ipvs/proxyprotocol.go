package ipvs

import (
	"errors"
	"strconv"
)

// ProxyProtocol is a version of the PROXY protocol (HAProxy's
// proxy-protocol.txt). The zero value is none.
type ProxyProtocol uint8

// The headers there are: v1 is text and for TCP only, v2 binary. Over UDP v2 goes
// before the first datagram of a session; v2-every, for UDP only, before each one.
const (
	NoProxy ProxyProtocol = iota
	ProxyV1
	ProxyV2
	ProxyV2Every
)

func (p ProxyProtocol) String() string {
	switch p {
	case ProxyV1:
		return "v1"
	case ProxyV2:
		return "v2"
	case ProxyV2Every:
		return "v2-every"
	}
	return ""
}

// MarshalText gives the configuration's words: nothing, v1, v2, v2-every.
func (p ProxyProtocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText also takes disable, the word of dpvs.
func (p *ProxyProtocol) UnmarshalText(b []byte) error {
	switch string(b) {
	case "", "disable":
		*p = NoProxy
	case "v1":
		*p = ProxyV1
	case "v2":
		*p = ProxyV2
	case "v2-every":
		*p = ProxyV2Every
	default:
		return errors.New("proxy protocol " + strconv.Quote(string(b)) + ": want v1, v2 or v2-every")
	}
	return nil
}
