package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// imapCheck is a mailbox server's greeting, STARTTLS where asked for,
// CAPABILITY, with a login LOGIN and EXAMINE of the mailbox in request, and
// LOGOUT (RFC 3501, 9051).
//
// Own code: emersion/go-imap v1 makes a slice of whatever length a server's
// literal announces, up to 4 GiB, and its client has no way to limit that.
type imapCheck struct {
	*security
	receive                  matcher
	login, password, mailbox string
}

func imap(c Check) (look, error)  { return newIMAP(c, tlsOff, tlsStartTLS, tlsOn) }
func imaps(c Check) (look, error) { return newIMAP(c, tlsOn) }

func newIMAP(c Check, modes ...string) (look, error) {
	if err := bothOrNone(c); err != nil {
		return nil, err
	}
	if c.Request != "" && c.Login == "" {
		return nil, errors.New("a mailbox to look into (request) needs a login")
	}
	s, err := newSecurity(c, modes...)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return imapCheck{s, m, c.Login, c.Password, c.Request}.look, err
}

func (i imapCheck) look(ctx context.Context, d *Dialer) error {
	d.limit(maxAnswer)
	t, err := d.talk(ctx, i.security)
	if err != nil {
		return err
	}
	d.Stage("waiting for the greeting")
	greeting, err := t.ReadLine()
	if err != nil {
		return t.failed("greeting", err)
	}
	if !strings.HasPrefix(greeting, "* OK") && !strings.HasPrefix(greeting, "* PREAUTH") {
		return t.refused("greeting", greeting)
	}
	if i.mode == tlsStartTLS {
		if err := t.tagged("starttls", "STARTTLS"); err != nil {
			return err
		}
		if err := t.startTLS(ctx, i.config); err != nil {
			return err
		}
	}
	if err := i.enter(t); err != nil {
		return err
	}
	err = t.expect(i.receive)
	t.leave("z LOGOUT")
	return err
}

// enter logs in and looks into the mailbox, as far as the check says.
func (i imapCheck) enter(t *talk) error {
	before := t.heard.Len() // without TLS the server may have offered something else
	if err := t.tagged("capability", "CAPABILITY"); err != nil {
		return err
	}
	if i.login == "" {
		return nil
	}
	if err := i.authenticate(t, strings.ToUpper(t.heard.String()[before:])); err != nil {
		return err
	}
	if i.mailbox == "" {
		return nil
	}
	return t.tagged("examine "+i.mailbox, "EXAMINE "+imapString(i.mailbox))
}

// authenticate sends the password, unless the server does not want it, as most do
// not without TLS. LOGIN takes ASCII only (RFC 9051 section 4.3); what is beyond
// goes by AUTHENTICATE PLAIN, and so does all where LOGIN is forbidden.
func (i imapCheck) authenticate(t *talk, offers string) error {
	doing := "login " + i.login
	forbidden := strings.Contains(offers, " LOGINDISABLED")
	switch {
	case !forbidden || strings.Contains(offers, " AUTH=PLAIN"):
	case strings.Contains(offers, " STARTTLS"):
		return t.refused(doing, "the server takes no login in clear, but offers STARTTLS")
	default:
		return t.refused(doing, "the server takes no password")
	}
	if ascii(i.login+i.password) && !forbidden {
		return t.tagged(doing, "LOGIN "+imapString(i.login)+" "+imapString(i.password))
	}
	if err := t.say(doing, "a AUTHENTICATE PLAIN"); err != nil {
		return err
	}
	line, err := t.ReadLine()
	if err != nil {
		return t.failed(doing, err)
	}
	if !strings.HasPrefix(line, "+") {
		return t.refused(doing, strings.TrimPrefix(line, "a "))
	}
	if err := t.say(doing, base64Of("\x00"+i.login+"\x00"+i.password)); err != nil {
		return err
	}
	return t.completion(doing)
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' || r > '~' }) < 0
}

// imapString quotes as RFC 3501 section 4.3 does.
func imapString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// tagged sends a command and reads until its answer, which must be OK.
func (t *talk) tagged(doing, command string) error {
	if err := t.say(doing, "a "+command); err != nil {
		return err
	}
	return t.completion(doing)
}

func (t *talk) completion(doing string) error {
	for {
		line, err := t.ReadLine()
		if err == nil {
			err = t.skipLiteral(line)
		}
		if err != nil {
			return t.failed(doing, err)
		}
		answer, mine := strings.CutPrefix(line, "a ")
		switch {
		case strings.HasPrefix(line, "* BYE"):
			return t.refused(doing, line[2:])
		case !mine:
		case strings.HasPrefix(answer, "OK"):
			return nil
		default:
			return t.refused(doing, answer)
		}
	}
}

// skipLiteral reads past the bytes that a line ending in {n} announces, as far
// as the check's budget goes.
func (t *talk) skipLiteral(line string) error {
	_, size, found := strings.Cut(strings.TrimSuffix(line, "}"), "{")
	if !found || !strings.HasSuffix(line, "}") {
		return nil
	}
	n, err := strconv.ParseUint(size[strings.LastIndexByte(size, '{')+1:], 10, 32)
	if err != nil {
		return nil // braces in a text
	}
	if n > maxBytes {
		return fmt.Errorf("a literal of %d bytes: %w", n, ErrFlood)
	}
	_, err = io.CopyN(io.Discard, t.R, int64(n))
	return err
}
