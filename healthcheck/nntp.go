package healthcheck

import (
	"context"
	"errors"
	"io"
	"net/textproto"
	"strings"
)

// nntpCheck is a news server's greeting, STARTTLS and AUTHINFO where asked
// for, and with a request the group of that name, or the body of the article
// when the request is a message-id in angle brackets (RFC 3977, 4642, 4643).
type nntpCheck struct {
	*security
	receive                  matcher
	login, password, request string
}

func nntp(c Check) (look, error) {
	if err := bothOrNone(c); err != nil {
		return nil, err
	}
	s, err := newSecurity(c, tlsOff, tlsStartTLS, tlsOn)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return nntpCheck{s, m, c.Login, c.Password, c.Request}.look, err
}

func (n nntpCheck) look(ctx context.Context, d *Dialer) error {
	d.limit(maxAnswer)
	t, err := d.talk(ctx, n.security)
	if err != nil {
		return err
	}
	if err := t.coded("greeting", 20, ""); err != nil {
		return err
	}
	if n.mode == tlsStartTLS || n.login != "" || n.request != "" {
		if err := n.readerMode(t); err != nil {
			return err
		}
	}
	if n.mode == tlsStartTLS {
		if err := t.coded("starttls", 382, "STARTTLS"); err != nil {
			return err
		}
		if err := t.startTLS(ctx, n.config); err != nil {
			return err
		}
	}
	if err := n.read(t); err != nil {
		return err
	}
	err = t.expect(n.receive)
	t.leave("QUIT")
	return err
}

// read logs in and reads, as far as the check says.
func (n nntpCheck) read(t *talk) error {
	if n.login != "" {
		if err := n.authenticate(t); err != nil {
			return err
		}
	}
	switch {
	case n.request == "":
		return nil
	case strings.HasPrefix(n.request, "<"):
		return n.body(t)
	}
	return t.coded("group "+n.request, 211, "GROUP "+n.request)
}

// readerMode tells a server that mostly serves other servers that we read. Not
// every server knows the command; 502, "no service for you", and 400, which a
// server that is too busy gives, are an end.
func (n nntpCheck) readerMode(t *talk) error {
	err := t.coded("mode reader", 20, "MODE READER")
	var reply *textproto.Error
	if errors.As(err, &reply) && reply.Code/100 == 5 && reply.Code != 502 {
		return nil
	}
	return err
}

// authenticate gives the name, and the password when it is asked for.
func (n nntpCheck) authenticate(t *talk) error {
	doing := "login " + n.login
	err := t.coded(doing, 381, "AUTHINFO USER "+n.login)
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply) && reply.Code == 281:
		return nil // the name was enough
	case err != nil:
		return err
	}
	return t.coded(doing, 281, "AUTHINFO PASS "+n.password)
}

// body reads an article's text; [talk.expect] sees it too.
func (n nntpCheck) body(t *talk) error {
	doing := "body " + n.request
	if err := t.coded(doing, 222, "BODY "+n.request); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, t.DotReader()); err != nil {
		return t.failed(doing, err)
	}
	return nil
}

// coded sends a line, if there is one, and reads a reply of one line, which
// must have the code or begin with it. The reply stays within reach of errors.As.
func (t *talk) coded(doing string, code int, line string) error {
	if err := t.say(doing, line); err != nil {
		return err
	}
	if _, _, err := t.ReadCodeLine(code); err != nil {
		return t.failed(doing, err)
	}
	return nil
}
