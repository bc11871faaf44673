package healthcheck

import (
	"fmt"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// startSlapd runs OpenLDAP over a folder of LDIF files.
func startSlapd(t *testing.T, cert testserver.Certificate) (plain, tls uint16, p *testserver.Process) {
	plain, tls = testserver.Port(t), testserver.Port(t)
	dir := testserver.Dir(t, map[string]string{
		"data/dc=example,dc=org.ldif": "dn: dc=example\nobjectClass: dcObject\nobjectClass: organization\ndc: example\no: Example\nstructuralObjectClass: organization\n",
	})
	testserver.Write(t, dir+"/slapd.conf", fmt.Sprintf(`
include /etc/ldap/schema/core.schema
modulepath /usr/lib/ldap
moduleload back_ldif
TLSCertificateFile %s
TLSCertificateKeyFile %s
database ldif
suffix "dc=example,dc=org"
rootdn "cn=monitor,dc=example,dc=org"
rootpw watchword
directory %s/data
`, cert.CertFile, cert.KeyFile, dir))
	p = testserver.Start(t, testserver.Program{Path: "slapd", Args: []string{
		"-f", dir + "/slapd.conf", "-d", "0",
		"-h", fmt.Sprintf("ldap://127.0.0.1:%d/ ldaps://127.0.0.1:%d/", plain, tls),
	}})
	p.AwaitPort(tls)
	p.AwaitPort(plain)
	return plain, tls, p
}

func TestLDAP(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "slapd")
	certs := newCertificates(t)
	plain, tls, server := startSlapd(t, certs.good)
	expiredPlain, expired, _ := startSlapd(t, certs.expired)

	base := "dc=example,dc=org"
	anonymous := Check{Type: "ldap"}
	login := Check{Type: "ldap", Login: "cn=monitor," + base, Password: "watchword", Request: base}
	t.Run("states", func(t *testing.T) {
		examine(t, certs.states(certs.trust(login, "starttls"), plain, expiredPlain)...)
		examine(t, certs.states(certs.trust(with(login, func(c *Check) { c.Type = "ldaps" }), ""), tls, expired)...)
		examine(t,
			row("up", anonymous, plain, ""),
			downState(t, anonymous),
			row("entry", Check{Type: "ldap", Request: base}, plain, ""),
			row("login and entry", login, plain, ""),
			row("entry's name", with(login, func(c *Check) { c.Receive = "^dc=example,dc=org$" }), plain, ""),
			row("entry's value", with(login, func(c *Check) { c.Receive = "(?m)^o: Example$" }), plain, ""),
			row("wrong answer", with(login, func(c *Check) { c.Receive = "o: Other" }), plain, `the answer does not match "o: Other": dn: dc=example`),
			row("no such entry", with(login, func(c *Check) { c.Request = "dc=gone," + base }), plain, "ldap search dc=gone,dc=example,dc=org: 32 No Such Object"),
			row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), plain, "ldap bind cn=monitor,dc=example,dc=org: 49 Invalid Credentials"),
			row("TLS port spoken to in clear", anonymous, tls, "ldap bind: the server closed the connection"),
		)
	})
	freeze(t, server, row("frozen", login, plain, "timed out waiting for the answer to bind cn=monitor,dc=example,dc=org"))
}
