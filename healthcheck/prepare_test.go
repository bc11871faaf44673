package healthcheck

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestPrepare: what cannot work is said before anything is checked.
func TestPrepare(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		check Check
		want  string // "": valid
	}{
		"dns without a name":          {Check{Type: "dns"}, "check dns: no name to ask for (request)"},
		"dns bad name":                {Check{Type: "dns", Request: "a..b"}, `"a..b" is not a domain name`},
		"dns unknown type":            {Check{Type: "dns", Request: "a.test", Method: "AAAAA"}, `record type "AAAAA" is not known`},
		"dns zone transfer":           {Check{Type: "dns", Request: "a.test", Method: "AXFR"}, `record type "AXFR" is not known`},
		"dns bad expression":          {Check{Type: "dns", Request: "a.test", Receive: "("}, "receive is no value of a A record and no expression"},
		"dns protocol":                {Check{Type: "dns", Request: "a.test", Protocol: "sctp"}, `protocol is udp or tcp, not "sctp"`},
		"smtp password alone":         {Check{Type: "smtp", Password: "x"}, "a password without a login"},
		"smtp login alone":            {Check{Type: "smtp", Login: "x"}, "a login without a password"},
		"smtp settings for no TLS":    {Check{Type: "smtp", TLS: TLS{CAFile: "/x"}}, "settings for TLS, but tls is off"},
		"smtp bad expression":         {Check{Type: "smtp", Receive: "["}, "receive:"},
		"imap line break":             {Check{Type: "imap", Login: "a\r\nb LOGOUT", Password: "x"}, "login: line breaks and zero bytes are not possible here"},
		"imap mailbox without login":  {Check{Type: "imap", Request: "INBOX"}, "needs a login"},
		"imaps by command":            {Check{Type: "imaps", TLS: TLS{Mode: "starttls"}}, `tls is on for this type, not "starttls"`},
		"pop3s in clear":              {Check{Type: "pop3s", TLS: TLS{Mode: "off"}}, `tls is on for this type, not "off"`},
		"nntp line break in request":  {Check{Type: "nntp", Request: "a\nQUIT"}, "request: line breaks"},
		"ftp receive without file":    {Check{Type: "ftp", Receive: "x"}, "receive needs a file to read (request)"},
		"ldap bind without password":  {Check{Type: "ldap", Login: "cn=x"}, "a login without a password"},
		"ldap bad name":               {Check{Type: "ldap", Request: "nonsense"}, `request: "nonsense" is not a distinguished name`},
		"ldap receive without entry":  {Check{Type: "ldap", Receive: "x"}, "receive needs an entry to read (request)"},
		"mysql without login":         {Check{Type: "mysql"}, "a login is needed"},
		"mysql query of many lines":   {Check{Type: "mysql", Login: "x", Request: "SELECT 1\nFROM t"}, ""},
		"pgsql line break":            {Check{Type: "pgsql", Login: "x\n"}, "login: line breaks"},
		"redis login alone":           {Check{Type: "redis", Login: "x"}, "a login without a password"},
		"redis password alone":        {Check{Type: "redis", Password: "x"}, ""},
		"radius without secret":       {Check{Type: "radius"}, "no secret: it is what client and server share"},
		"radius long password":        {Check{Type: "radius", Secret: "x", Login: "x", Password: strings.Repeat("x", 129)}, "more than 128 bytes"},
		"sip TLS by UDP":              {Check{Type: "sip", Protocol: "udp", TLS: TLS{Mode: "on"}}, "TLS needs protocol tcp"},
		"sip TLS":                     {Check{Type: "sip", TLS: TLS{Mode: "on"}}, ""},
		"sip header in an address":    {Check{Type: "sip", Request: "a@b>\r\nX: y"}, "request: line breaks"},
		"sip brackets in an address":  {Check{Type: "sip", Request: "<sip:a@b>"}, "no angle brackets"},
		"oracle descriptor":           {Check{Type: "oracle", Database: "(x=y)"}, `database: "(x=y)" is not a service name`},
		"a field of another type":     {Check{Type: "radius", Receive: "x"}, "check radius: receive is not used by this type"},
		"authorities that are absent": {Check{Type: "ldaps", TLS: TLS{CAFile: "/nonexistent.pem"}}, "read the authorities to trust"},
		"authorities without an end":  {Check{Type: "ldaps", TLS: TLS{CAFile: "/dev/zero"}}, "read the authorities to trust: /dev/zero is no regular file"},
		"authorities from a FIFO":     {Check{Type: "ldaps", TLS: TLS{CAFile: fifo}}, fifo + " is no regular file"},
		"a certificate from a FIFO":   {Check{Type: "ldaps", TLS: TLS{CertFile: fifo}}, "read the client certificate: " + fifo + " is no regular file"},
		"a key from a folder":         {Check{Type: "ldaps", TLS: TLS{CertFile: "/etc/passwd", KeyFile: "/etc"}}, "/etc is no regular file"},
	} {
		t.Run(name, func(t *testing.T) {
			err := row.check.Validate()
			if row.want == "" && err != nil || row.want != "" && (err == nil || !strings.Contains(err.Error(), row.want)) {
				t.Errorf("%v, want %q", err, row.want)
			}
		})
	}
}
