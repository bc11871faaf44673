package healthcheck

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// smtpCheck is the exchange of a mail server's greeting, EHLO, where asked for
// STARTTLS and AUTH, and QUIT (RFC 5321, 3207, 4954, 6409). No mail is sent.
//
// Own code over net/textproto: net/smtp reads the greeting itself and makes
// its TLS connection itself, out of sight of the dialer.
type smtpCheck struct {
	*security
	receive         matcher
	login, password string
}

// smtp checks a server that takes mail, from others or from its users.
func smtp(c Check) (look, error) {
	if err := bothOrNone(c); err != nil {
		return nil, err
	}
	s, err := newSecurity(c, tlsOff, tlsStartTLS, tlsOn)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return smtpCheck{s, m, c.Login, c.Password}.look, err
}

func (s smtpCheck) look(ctx context.Context, d *Dialer) error {
	d.limit(maxAnswer)
	t, err := d.talk(ctx, s.security)
	if err != nil {
		return err
	}
	if _, err := t.ask("greeting", 220, ""); err != nil {
		return err
	}
	offers, err := s.hello(ctx, t)
	if err != nil {
		return err
	}
	if s.login != "" {
		if err := s.auth(t, offers); err != nil {
			return err
		}
	}
	err = t.expect(s.receive)
	t.leave("QUIT")
	return err
}

// hello introduces us, and does it again inside of TLS when that begins here.
// It returns what the server offers.
func (s smtpCheck) hello(ctx context.Context, t *talk) (string, error) {
	name := helloName(t.conn)
	offers, err := t.ask("ehlo", 250, "EHLO "+name)
	if err != nil && s.mode == tlsOff && s.login == "" {
		return t.ask("helo", 250, "HELO "+name) // the server may be older than EHLO
	}
	if err != nil || s.mode != tlsStartTLS {
		return offers, err
	}
	if _, err := t.ask("starttls", 220, "STARTTLS"); err != nil {
		return "", err
	}
	if err := t.startTLS(ctx, s.config); err != nil {
		return "", err
	}
	return t.ask("ehlo inside TLS", 250, "EHLO "+name)
}

// auth logs in by PLAIN, or by LOGIN where that is all that the server has.
func (s smtpCheck) auth(t *talk, offers string) error {
	doing := "auth " + s.login
	switch mechanisms := mechanisms(offers); {
	case mechanisms["PLAIN"]:
		_, err := t.ask(doing, 235, "AUTH PLAIN "+base64Of("\x00"+s.login+"\x00"+s.password))
		return err
	case mechanisms["LOGIN"]:
		for _, step := range []string{"AUTH LOGIN", base64Of(s.login)} {
			if _, err := t.ask(doing, 334, step); err != nil {
				return err
			}
		}
		_, err := t.ask(doing, 235, base64Of(s.password))
		return err
	}
	offers = strings.ReplaceAll(offers, "\n", ", ")
	if s.mode == tlsOff && strings.Contains(offers, "STARTTLS") {
		return t.refused(doing, "the server takes no login in clear, but offers STARTTLS")
	}
	return t.refused(doing, "the server offers neither AUTH PLAIN nor AUTH LOGIN but: "+offers)
}

// mechanisms are the words of the AUTH line in what a server offers.
func mechanisms(offers string) map[string]bool {
	words := map[string]bool{}
	for line := range strings.Lines(offers) {
		fields := strings.Fields(strings.ToUpper(strings.Replace(line, "=", " ", 1))) // "AUTH=" is of old servers
		if len(fields) > 1 && fields[0] == "AUTH" {
			for _, w := range fields[1:] {
				words[w] = true
			}
		}
	}
	return words
}

// helloName is our address as RFC 5321 section 4.1.3 writes it: a director has
// no name that every mail server would believe.
func helloName(c net.Conn) string {
	a, err := netip.ParseAddrPort(c.LocalAddr().String())
	switch ip := a.Addr().Unmap(); {
	case err != nil:
		return "localhost"
	case ip.Is4():
		return fmt.Sprintf("[%v]", ip)
	default:
		return fmt.Sprintf("[IPv6:%v]", ip.WithZone(""))
	}
}

func base64Of(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
