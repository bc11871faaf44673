package healthcheck

import (
	"context"
	"crypto/hmac"
	"crypto/md5"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"

	goradius "layeh.com/radius"
	"layeh.com/radius/rfc2865"
	"layeh.com/radius/rfc2869"
)

// radiusCheck sends one Access-Request, which must be accepted, or without a
// login a Status-Server request (RFC 2865, 5997). The library makes and reads
// packets; the exchange is ours, because the library's repeats the request and
// knows nothing of Message-Authenticator, without which an answer can be
// forged (BlastRADIUS, CVE-2024-3596).
type radiusCheck struct {
	login, password, secret string
	signed                  bool // an answer without Message-Authenticator is none
}

func radius(c Check) (look, error) {
	switch err := bothOrNone(c); {
	case err != nil:
		return nil, err
	case c.Secret == "":
		return nil, errors.New("no secret: it is what client and server share")
	case len(c.Password) > 128:
		return nil, errors.New("a password of more than 128 bytes (RFC 2865 section 5.2)")
	case len(c.Login) > 253:
		return nil, errors.New("a login of more than 253 bytes")
	}
	return radiusCheck{c.Login, c.Password, c.Secret, c.Signed}.look, nil
}

func (r radiusCheck) look(ctx context.Context, d *Dialer) error {
	c, err := d.Dial(ctx, "udp")
	if err != nil {
		return err
	}
	request, err := r.request(c.LocalAddr())
	if err != nil {
		return ours(err)
	}
	d.Stage("waiting for an answer (a RADIUS server ignores clients it does not know, and a wrong secret)")
	if _, err := c.Write(request); err != nil {
		return fmt.Errorf("radius: %w", bare(err))
	}
	answer, err := r.answer(c, d, request)
	if err != nil {
		return fmt.Errorf("radius %s: %w", r.doing(), err)
	}
	return r.judge(d, answer)
}

func (r radiusCheck) doing() string {
	if r.login == "" {
		return "status-server"
	}
	return "login " + r.login
}

// request makes the packet. Its first attribute is Message-Authenticator, an
// HMAC-MD5 of the packet with zeros in its place (RFC 3579 section 3.2).
func (r radiusCheck) request(from net.Addr) ([]byte, error) {
	p := goradius.New(goradius.CodeStatusServer, []byte(r.secret))
	p.Add(rfc2869.MessageAuthenticator_Type, make(goradius.Attribute, md5.Size))
	if r.login != "" {
		p.Code = goradius.CodeAccessRequest
		err := errors.Join(rfc2865.UserName_SetString(p, r.login), rfc2865.UserPassword_SetString(p, r.password))
		if err != nil {
			return nil, err
		}
	}
	if err := rfc2865.NASIdentifier_SetString(p, "goipvs"); err != nil {
		return nil, err
	}
	if a, err := netip.ParseAddrPort(from.String()); err == nil && a.Addr().Unmap().Is4() {
		if err := rfc2865.NASIPAddress_Set(p, a.Addr().Unmap().AsSlice()); err != nil {
			return nil, err
		}
	}
	wire, err := p.Encode()
	if err != nil {
		return nil, err
	}
	copy(wire[22:38], macOf(wire, []byte(r.secret)))
	return wire, nil
}

func macOf(packet, secret []byte) []byte {
	mac := hmac.New(md5.New, secret)
	mac.Write(packet)
	return mac.Sum(nil)
}

// answer waits for the datagram that answers the request and was made by
// somebody who has the secret. One that is not signed and has to be is passed
// over: whoever forges it could else take the server down.
func (r radiusCheck) answer(c net.Conn, d *Dialer, request []byte) (*goradius.Packet, error) {
	buf := make([]byte, goradius.MaxPacketLength)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, bare(err)
		}
		answer, err := readRADIUS(buf[:n], request, []byte(r.secret))
		if err == nil && r.signed && !signed(answer) {
			d.Stage("waiting for an answer with a Message-Authenticator (there was one without)")
			err = errors.New("no Message-Authenticator, which is required")
		}
		if err == nil {
			return answer, nil
		}
		d.Note("ignored an answer: %v", err)
	}
}

// readRADIUS decodes an answer to the request, and verifies its authenticator,
// and its Message-Authenticator where it has one: older servers send none.
func readRADIUS(wire, request, secret []byte) (*goradius.Packet, error) {
	answer, err := goradius.Parse(wire, secret)
	if err != nil {
		return nil, err
	}
	length := int(wire[2])<<8 | int(wire[3])
	wire = slices.Clone(wire[:length])
	if answer.Identifier != request[1] {
		return nil, errors.New("an answer to another request")
	}
	if !authentic(wire, request, secret) {
		return nil, errors.New("not made with our secret")
	}
	copy(wire[4:20], request[4:20])
	for at := 20; at < len(wire); at += int(wire[at+1]) {
		if goradius.Type(wire[at]) != rfc2869.MessageAuthenticator_Type {
			continue
		}
		if wire[at+1] != 18 {
			return nil, errors.New("a Message-Authenticator of a wrong length")
		}
		mac := slices.Clone(wire[at+2 : at+18])
		clear(wire[at+2 : at+18])
		if !hmac.Equal(mac, macOf(wire, secret)) {
			return nil, errors.New("a wrong Message-Authenticator")
		}
		return answer, nil
	}
	return answer, nil
}

// authentic verifies the Response Authenticator (RFC 2865 section 3) in
// constant time.
func authentic(wire, request, secret []byte) bool {
	sum := md5.New()
	sum.Write(wire[:4])
	sum.Write(request[4:20])
	sum.Write(wire[20:])
	sum.Write(secret)
	return hmac.Equal(sum.Sum(nil), wire[4:20])
}

func signed(answer *goradius.Packet) bool {
	_, ok := answer.Lookup(rfc2869.MessageAuthenticator_Type)
	return ok
}

// judge takes an Access-Accept for well, and for a Status-Server request any
// answer: an accounting port answers with Accounting-Response.
func (r radiusCheck) judge(d *Dialer, answer *goradius.Packet) error {
	if !signed(answer) {
		d.Note("the answer has no Message-Authenticator: it could be forged (BlastRADIUS)")
	}
	if answer.Code == goradius.CodeAccessAccept || r.login == "" {
		return nil
	}
	text := answer.Code.String()
	if said := rfc2865.ReplyMessage_GetString(answer); said != "" {
		text += " (" + said + ")"
	}
	return fmt.Errorf("radius %s: %s", r.doing(), d.quote(text))
}
