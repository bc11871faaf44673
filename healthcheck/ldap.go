package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"
)

// maxLDAP is how many bytes the check moves. The library makes some hundred
// bytes of every two that a server sends.
const maxLDAP = 32 << 10

// ldapCheck binds, anonymously or with a login, and with a request reads the
// one entry of that name (RFC 4511). The library is given a connection that
// already speaks TLS where it is to, and closes it.
type ldapCheck struct {
	*security
	receive               matcher
	login, password, base string
}

func ldap(c Check) (look, error)  { return newLDAP(c, tlsOff, tlsStartTLS, tlsOn) }
func ldaps(c Check) (look, error) { return newLDAP(c, tlsOn) }

func newLDAP(c Check, modes ...string) (look, error) {
	if err := bothOrNone(c); err != nil {
		return nil, err // a bind with a name and no password is anonymous, and succeeds (RFC 4513 section 5.1.2)
	}
	if c.Receive != "" && c.Request == "" {
		return nil, errors.New("receive needs an entry to read (request)")
	}
	if c.Request != "" {
		if _, err := goldap.ParseDN(c.Request); err != nil {
			return nil, fmt.Errorf("request: %q is not a distinguished name: %w", c.Request, err)
		}
	}
	s, err := newSecurity(c, modes...)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return ldapCheck{s, m, c.Login, c.Password, c.Request}.look, err
}

func (l ldapCheck) look(ctx context.Context, d *Dialer) error {
	d.limit(maxLDAP)
	c, err := l.connect(ctx, d)
	if err != nil {
		return err
	}
	conn := goldap.NewConn(c, l.mode != tlsOff)
	conn.Start()
	defer conn.Unbind()
	d.Stage(strings.TrimSpace("waiting for the answer to bind " + l.login))
	if err := l.bind(conn); err != nil {
		return d.ldapFailed("bind "+l.login, err)
	}
	if l.base == "" {
		return nil
	}
	return l.read(d, conn)
}

func (l ldapCheck) connect(ctx context.Context, d *Dialer) (net.Conn, error) {
	c, err := l.dial(ctx, d)
	if err != nil || l.mode != tlsStartTLS {
		return c, err
	}
	if err := askLDAPForTLS(c); err != nil {
		return nil, d.ldapFailed("starttls", err)
	}
	if c, err = d.StartTLS(ctx, c, l.config); err != nil {
		return nil, fmt.Errorf("%s starttls: %w", d.Check.Type, err)
	}
	return c, nil
}

// askLDAPForTLS sends the StartTLS request (RFC 4511 section 4.14). Not the
// library's, which makes its TLS connection out of sight of the dialer.
func askLDAPForTLS(c net.Conn) error {
	const oid = "1.3.6.1.4.1.1466.20037"
	request := "\x30\x1d\x02\x01\x01\x77\x18\x80\x16" + oid
	if _, err := c.Write([]byte(request)); err != nil {
		return err
	}
	answer, err := ber.ReadPacket(c)
	if err != nil {
		return err
	}
	return goldap.GetLDAPError(answer)
}

func (l ldapCheck) bind(conn *goldap.Conn) error {
	if l.login == "" {
		return conn.UnauthenticatedBind("")
	}
	return conn.Bind(l.login, l.password)
}

// read fetches the entry. Receive is held against its name, and against its
// name and attributes.
func (l ldapCheck) read(d *Dialer, conn *goldap.Conn) error {
	doing := "search " + l.base
	d.Stage("waiting for the answer to " + doing)
	result, err := conn.Search(goldap.NewSearchRequest(l.base, goldap.ScopeBaseObject,
		goldap.NeverDerefAliases, 2, 0, false, "(objectClass=*)", l.attributes(), nil))
	switch {
	case err != nil:
		return d.ldapFailed(doing, err)
	case len(result.Entries) != 1:
		return fmt.Errorf("%s %s: %d entries instead of one", d.Check.Type, doing, len(result.Entries))
	}
	entry := result.Entries[0]
	if l.receive == nil || l.receive.Match([]byte(entry.DN)) {
		return nil
	}
	return d.expect(l.receive, entryText(entry))
}

// attributes are those to be read: none where nobody looks at them (RFC 4511
// section 4.5.1.8), nil for all.
func (l ldapCheck) attributes() []string {
	if l.receive == nil {
		return []string{"1.1"}
	}
	return nil
}

// entryText is an entry, a line for its name and each value.
func entryText(e *goldap.Entry) string {
	var b strings.Builder
	fmt.Fprintf(&b, "dn: %s\n", e.DN)
	for _, a := range e.Attributes {
		for _, v := range a.Values {
			fmt.Fprintf(&b, "%s: %s\n", a.Name, v)
		}
	}
	return b.String()
}

// ldapFailed says what was being done, and what the server said as "49 Invalid
// Credentials (its own words)".
func (d *Dialer) ldapFailed(doing string, err error) error {
	doing = d.Check.Type + " " + strings.TrimSpace(doing)
	var said *goldap.Error
	switch {
	case !errors.As(err, &said):
		return fmt.Errorf("%s: %w", doing, ldapBroken(err))
	case said.ResultCode >= goldap.ErrorNetwork:
		return fmt.Errorf("%s: %w", doing, ldapBroken(said.Err))
	}
	text := fmt.Sprintf("%d %s", said.ResultCode, goldap.LDAPResultCodeMap[said.ResultCode])
	if said.Err != nil && said.Err.Error() != "" {
		text += " (" + said.Err.Error() + ")"
	}
	return fmt.Errorf("%s: %s", doing, d.quote(text))
}

// ldapBroken is the error of a connection that broke. The library wraps what
// the connection said as text alone.
func ldapBroken(err error) error {
	if text := err.Error(); strings.HasSuffix(text, "EOF") || strings.Contains(text, "channel closed") {
		return errHungUp
	}
	return err
}
