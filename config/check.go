package config

import (
	"net/netip"
	"time"
)

// Check is one check of one real server. Which fields a type reads is told by
// [CheckTypes]; the others are zero.
type Check struct {
	// Type is the name of one of CheckTypes, such as "http".
	Type string
	Timing

	// Address is checked in place of the real server's; the zero Addr is the
	// real server's own.
	Address netip.Addr
	// Port is checked in place of the real server's. 0: the server's own, and if
	// it has none that of the type.
	Port   uint16
	Source netip.Addr // local address of the check; the zero Addr: any
	Via    Via

	Request     string // path, query, name, bytes to send: what the type asks
	RequestHex  string // bytes to send as hexadecimal digits, in place of Request
	Receive     string // RE2 expression that the answer must match; empty: any answer
	ReceiveHex  string // how the answer must begin, hexadecimal, x for any digit
	Status      string // accepted status codes: "200-299,304"
	Method      string // of HTTP
	VirtualHost string // Host header, and server name of TLS
	Headers     []string
	Follow      int    // redirects followed, on the same host
	Digest      string // MD5 of the body, hexadecimal (keepalived); empty: not compared

	TLS           TLSMode
	ServerName    string        // sent and verified in TLS; empty: VirtualHost, or the real server's name
	Verify        bool          // whether the certificate must be valid
	CA            string        // file of certificates to verify by; empty: the system's
	Cert, Key     string        // files of the client certificate
	ExpiryWarning time.Duration // how long before a certificate ends it is warned of

	Login        string
	Password     Secret
	PasswordFile string // where Password was read from
	Database     string
	Secret       Secret // of RADIUS
	SecretFile   string

	Record    string   // type of DNS record: A, AAAA, ...
	Transport string   // "tcp" or "udp"; empty: the service's protocol
	Service   string   // name in the gRPC health protocol
	Helo      string   // name said to an SMTP server
	Command   []string // argv of an external check
	// Arguments says that the external command gets ldirectord's four
	// arguments behind its own: VIP, port, real server, port.
	Arguments bool
}

// Timing is when a check is made and how often it must agree.
type Timing struct {
	Interval     time.Duration
	Timeout      time.Duration
	Rise, Fall   int
	FastInterval time.Duration // from the first failure to the verdict; 0: Interval
	Jitter       float64       // share of the interval
}

// Fast is the interval between the first failure and the verdict.
func (t *Timing) Fast() time.Duration {
	if t.FastInterval == 0 {
		return t.Interval
	}
	return t.FastInterval
}

// Via is the way of a check to the real server.
type Via string

// Real goes to the real server's address; Path to the virtual address, and the
// kernel forwards it to that one server.
const (
	ViaReal Via = "real"
	ViaPath Via = "path"
)

// TLSMode is whether a check speaks TLS.
type TLSMode string

// On speaks it from the first byte, Start after the protocol's own command for
// it (STARTTLS, STLS, AUTH TLS, SSLRequest).
const (
	TLSOff   TLSMode = "off"
	TLSOn    TLSMode = "on"
	TLSStart TLSMode = "start"
)

// Addr is the port to check of a server at port own, 0 when there is none.
func (c *Check) TargetPort(own uint16) uint16 {
	switch {
	case c.Port != 0:
		return c.Port
	case own != 0:
		return own
	}
	return specOf(c.Type).Port
}
