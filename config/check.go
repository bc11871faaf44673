package config

import (
	"net/netip"
	"strings"
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

	// Request is what the type asks: a path, a URL, a name, a statement, bytes to
	// send. With tcp and udp it may be "hex:" and hexadecimal digits.
	Request string
	// Receive is an RE2 expression that the answer must match; empty: any
	// answer. With tcp and udp it may be "hex:" and the bytes that the answer
	// begins with, x for any digit.
	Receive     string
	Status      string // accepted status codes: "200-299,304"
	Method      string // of HTTP
	VirtualHost string // Host header, and server name of TLS
	Follow      int    // redirects followed, on the same host

	TLS           TLSMode       // empty: the type has no TLS
	ServerName    string        // sent and verified in TLS; empty: VirtualHost, or the real server's name
	Verify        bool          // whether the certificate must be valid
	CA            string        // file of certificates to verify by; empty: the system's
	Cert, Key     string        // files of the client certificate
	ExpiryWarning time.Duration // how long before a certificate ends it is warned of; 0: never

	Login        string
	Password     Secret
	PasswordFile string // where Password was read from
	Database     string
	Secret       Secret // of RADIUS
	// RequireMessageAuthenticator: answers of RADIUS without one do not count.
	RequireMessageAuthenticator bool
	SecretFile                  string // where Secret was read from

	Record   string   // type of DNS record: A, AAAA, ...
	Protocol string   // "udp" or "tcp", of types that speak both; empty: the service's
	Command  []string // argv of an external check
	// Arguments: ldirectord's four are added to Command.
	Arguments bool
	// User that Command runs as; empty: Config.CommandUser.
	User string
	// Limits of each process of Command; 0: none.
	CPULimit    time.Duration
	MemoryLimit int // MiB
	FileLimit   int
	// DynamicWeight: statuses of Command above 1 are up, and say the weight.
	DynamicWeight bool
}

// Timing is when a check is made and how often it must agree.
type Timing struct {
	Interval     time.Duration
	Timeout      time.Duration
	Rise, Fall   int
	FastInterval time.Duration // from the first failure to the verdict; 0: Interval
	Jitter       float64       // share of the interval
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

// TLSOn speaks it from the first byte, TLSStart after the protocol's own command
// for it (STARTTLS, STLS, AUTH TLS, SSLRequest).
const (
	TLSOff   TLSMode = "off"
	TLSOn    TLSMode = "on"
	TLSStart TLSMode = "starttls"
)

// BeyondProxy tells that a proxy connects the check to a server with which it
// speaks TLS.
func (c *Check) BeyondProxy() bool {
	return c.Type == "http_proxy" && strings.HasPrefix(c.Request, "https://")
}

// TargetPort is the port to check of a server at port own, 0 when there is none.
func (c *Check) TargetPort(own uint16) uint16 {
	switch {
	case c.Port != 0:
		return c.Port
	case own != 0:
		return own
	}
	return specOf(c.Type).Port
}
