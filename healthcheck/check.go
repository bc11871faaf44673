package healthcheck

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"
	"unique"
)

// A Check says what to ask a server and what to expect. The zero value of a
// field means the type's default; a field that the type does not use must be
// zero. docs/checks.md has the table.
type Check struct {
	Type        string      // a row of the registry: "connect", "http", ...; see [Types]
	Port        uint16      // 0: the server's own port
	Request     string      // what is asked: a path, a query, a name, bytes to send
	Receive     string      // RE2 expression that the answer must match
	Status      string      // HTTP: "200-299", "200,204,301-302"
	VirtualHost string      // HTTP: Host header; also SNI and the name in the certificate unless TLS.ServerName is set
	Method      string      // HTTP: GET, HEAD, OPTIONS, POST; DNS and others may use it for the record type
	Login       string      // who logs in
	Password    string      // a secret: never in transcripts or errors
	Database    string      // SQL: database; LDAP and others as their row says
	Secret      string      // RADIUS: shared secret
	Signed      bool        // RADIUS: only answers with a Message-Authenticator count
	Command     []string    // external: argv
	Bare        bool        // external: nothing is added to Command
	Confine     Confinement // external: as whom it runs, and with how much
	Weighs      bool        // external: statuses above 1 are healthy, too, and say a weight: the status less 2
	Via         string      // "" or "real": the real server's address; "path": the VIP, marked with Target.Mark
	Protocol    string      // "tcp", "udp" or "sctp" where a type speaks several (connect, dns, sip)
	Follow      int         // HTTP: redirects to follow on the same server, at most 3; 0: none
	TLS         TLS
}

// TLS says how a check that speaks TLS does so. The zero value verifies the
// certificate against the system's authorities.
type TLS struct {
	Mode       string        // "": as the type says; "on", "off", "starttls" where the type can do it
	ServerName string        // SNI, and the name that the certificate must have; "": VirtualHost, or the server's address
	CAFile     string        // PEM file of authorities to trust instead of the system's
	CertFile   string        // PEM file: client certificate
	KeyFile    string        // PEM file: its key; "": in CertFile
	Insecure   bool          // take any certificate
	Warn       time.Duration // warn when the certificate expires within this time; 0: 14 days, negative: never
}

// Ways a check reaches its server.
const (
	ViaReal = "real"
	ViaPath = "path"
)

// Key is equal for checks that ask the same in the same way. It is as small as a
// pointer and quickly compared.
type Key struct{ of unique.Handle[identity] }

// identity is a check that can be compared.
type identity struct {
	typ, request, receive, status, virtualHost, method, login, password, database, secret, via, protocol, command string

	port         uint16
	follow       int
	bare, weighs bool
	signed       bool
	tls          TLS
	confine      Confinement
}

// Key returns the check's key.
func (c Check) Key() Key { return Key{unique.Make(c.identity())} }

// Equal reports whether the keys of two checks are the same, without making them.
func (c Check) Equal(o Check) bool { return c.identity() == o.identity() }

func (c Check) identity() identity {
	id := identity{
		typ: c.Type, request: c.Request, receive: c.Receive, status: c.Status, virtualHost: c.VirtualHost, method: c.Method,
		login: c.Login, password: c.Password, database: c.Database, secret: c.Secret, via: c.Via, protocol: c.Protocol,
		port: c.Port, follow: c.Follow, bare: c.Bare, weighs: c.Weighs, tls: c.TLS, confine: c.Confine, signed: c.Signed,
	}
	if len(c.Command) > 0 {
		id.command = fmt.Sprintf("%q", c.Command)
	}
	return id
}

// Validate says what is wrong with the check, reading the files it names.
func (c Check) Validate() error {
	_, err := prepareCheck(c)
	return err
}

// kind finds the row of the check's type and holds the check against it.
func (c Check) kind() (kind, error) {
	k, ok := kinds[c.Type]
	if !ok {
		return kind{}, fmt.Errorf("check type %q is not known (there are %s)", c.Type, strings.Join(Types(), ", "))
	}
	for _, field := range c.set() {
		if !k.mayUse(field) {
			return kind{}, c.wrong("%s is not used by this type", field)
		}
	}
	switch c.Via {
	case "", ViaReal, ViaPath:
		return k, nil
	}
	return kind{}, c.wrong(`via is "real" or "path", not %q`, c.Via)
}

// tlsMode is the check's way of TLS if the type can do it, or else the first
// that it can.
func (c Check) tlsMode(can ...string) (string, error) {
	mode := or(c.TLS.Mode, can[0])
	if !slices.Contains(can, mode) {
		return "", fmt.Errorf("tls is %s for this type, not %q", strings.Join(can, " or "), mode)
	}
	if mode == "off" && c.TLS != (TLS{Mode: c.TLS.Mode}) {
		return "", errors.New("settings for TLS, but tls is off")
	}
	return mode, nil
}

func (c Check) wrong(format string, args ...any) error {
	return fmt.Errorf("check "+c.Type+": "+format, args...)
}

// set lists the fields that are not zero, in lower case.
func (c Check) set() (names []string) {
	v := reflect.ValueOf(c)
	for i := range v.NumField() {
		if !v.Field(i).IsZero() {
			names = append(names, strings.ToLower(v.Type().Field(i).Name))
		}
	}
	return names
}

// always are the fields that every type may have, whether or not they matter.
var always = []string{"type", "port", "via"}

func (k kind) mayUse(field string) bool {
	return slices.Contains(always, field) || slices.Contains(strings.Fields(k.uses), field)
}
