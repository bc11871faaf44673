package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/textproto"
	"strconv"
	"strings"
)

// maxFile is how much of a file the FTP check reads to match it.
const maxFile = 64 << 10

// ftpCheck is a file server's greeting, AUTH TLS where asked for, login, and
// with a request the retrieval of that file by a passive data connection
// (RFC 959, 2428, 4217).
//
// Own code: jlaffaye/ftp hides the address that a PASV answer names, so that a
// server which announces a wrong one, and fails all its clients, looks well.
type ftpCheck struct {
	*security
	receive               matcher
	login, password, file string
}

func ftp(c Check) (look, error) {
	if c.Login == "" && c.Password == "" {
		c.Login, c.Password = "anonymous", "goipvs@"
	}
	if err := bothOrNone(c); err != nil {
		return nil, err
	}
	if c.Receive != "" && c.Request == "" {
		return nil, errors.New("receive needs a file to read (request)")
	}
	s, err := newSecurity(c, tlsOff, tlsStartTLS, tlsOn)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return ftpCheck{s, m, c.Login, c.Password, c.Request}.look, err
}

func (f ftpCheck) look(ctx context.Context, d *Dialer) error {
	t, err := d.talk(ctx, f.security)
	if err != nil {
		return err
	}
	if _, err := t.ask("greeting", 220, ""); err != nil {
		return err
	}
	if err := f.enter(ctx, t); err != nil {
		return err
	}
	if f.file != "" {
		content, err := f.retrieve(ctx, t)
		if err != nil {
			return err
		}
		if err := d.expect(f.receive, content); err != nil {
			return err
		}
	}
	t.leave("QUIT")
	return nil
}

// enter logs in, inside of TLS where the check says so.
func (f ftpCheck) enter(ctx context.Context, t *talk) error {
	if f.mode == tlsStartTLS {
		if _, err := t.ask("auth tls", 234, "AUTH TLS"); err != nil {
			return err
		}
		if err := t.startTLS(ctx, f.config); err != nil {
			return err
		}
	}
	doing := "login " + f.login
	_, err := t.ask(doing, 331, "USER "+f.login)
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply) && reply.Code == 230:
		return nil // no password wanted
	case err != nil:
		return err
	}
	_, err = t.ask(doing, 230, "PASS "+f.password)
	return err
}

// retrieve reads the file over a data connection.
func (f ftpCheck) retrieve(ctx context.Context, t *talk) (string, error) {
	if err := f.prepareData(t); err != nil {
		return "", err
	}
	port, err := t.passive()
	if err != nil {
		return "", err
	}
	data, err := t.dialer.DialPort(ctx, "tcp", port)
	if err != nil {
		return "", fmt.Errorf("ftp data connection: %w", err)
	}
	defer data.Close()
	doing := "retr " + f.file
	if _, err := t.ask(doing, 1, "RETR "+f.file); err != nil {
		return "", err
	}
	if f.mode != tlsOff {
		if data, err = t.dialer.StartTLS(ctx, data, f.config); err != nil {
			return "", fmt.Errorf("ftp data connection: %w", err)
		}
	}
	return t.content(doing, data)
}

// prepareData asks for bytes as they are, and for TLS on the data connection
// where there is TLS.
func (f ftpCheck) prepareData(t *talk) error {
	commands := []string{"TYPE I"}
	if f.mode != tlsOff {
		commands = append(commands, "PBSZ 0", "PROT P")
	}
	for _, c := range commands {
		if _, err := t.ask(strings.ToLower(c), 200, c); err != nil {
			return err
		}
	}
	return nil
}

// content reads the file, and that the server thinks it complete. Of a long
// file the beginning is enough.
func (t *talk) content(doing string, data net.Conn) (string, error) {
	b, err := io.ReadAll(io.LimitReader(data, maxFile))
	if err != nil {
		return "", t.failed(doing, err)
	}
	data.Close()
	if len(b) == maxFile {
		return string(b), nil // the server is about to complain that we hung up
	}
	_, err = t.ask(doing, 226, "")
	return string(b), err
}

// passive asks for a port to connect to: by EPSV, and where the server does
// not know that by PASV, which must name the server itself.
func (t *talk) passive() (uint16, error) {
	text, err := t.ask("epsv", 229, "EPSV")
	if err == nil {
		port, ok := epsvPort(text)
		if !ok {
			return 0, t.refused("epsv", "no port in: "+text)
		}
		return port, nil
	}
	var reply *textproto.Error
	if !errors.As(err, &reply) {
		return 0, err
	}
	if text, err = t.ask("pasv", 227, "PASV"); err != nil {
		return 0, err
	}
	to, ok := pasvAddress(text)
	if !ok {
		return 0, t.refused("pasv", "no address and port in: "+text)
	}
	return to.Port(), t.dialer.itself(to.Addr())
}

// itself refuses an address that is not the server's: neither the one we
// checked nor the VIP, which servers behind a director may announce. Nobody
// can make a check connect elsewhere.
func (d *Dialer) itself(a netip.Addr) error {
	if a == d.Address().Addr().Unmap() || a == d.Target.Virtual.Addr().Unmap() {
		return nil
	}
	return fmt.Errorf("ftp pasv: the server announces %v for data, which is not its address (%v)", a, d.Address().Addr())
}

// epsvPort reads "... (|||port|)" with any delimiter (RFC 2428 section 3).
func epsvPort(text string) (uint16, bool) {
	_, inner, ok := strings.Cut(text, "(")
	inner, _, closed := strings.Cut(inner, ")")
	if !ok || !closed || len(inner) < 5 {
		return 0, false
	}
	fields := strings.Split(inner, inner[:1])
	if len(fields) != 5 {
		return 0, false
	}
	port, err := strconv.ParseUint(fields[3], 10, 16)
	return uint16(port), err == nil && port != 0
}

// pasvAddress reads the first "h1,h2,h3,h4,p1,p2" of an answer. RFC 959 does
// not promise the parentheses around it (RFC 1123 section 4.1.2.6).
func pasvAddress(text string) (netip.AddrPort, bool) {
	start := strings.IndexAny(text, "0123456789")
	if start < 0 {
		return netip.AddrPort{}, false
	}
	var b [6]byte
	fields := strings.Split(text[start:], ",")
	if len(fields) < len(b) {
		return netip.AddrPort{}, false
	}
	for i := range b {
		digits := fields[i]
		if i == len(b)-1 {
			digits = digits[:len(digits)-len(strings.TrimLeft(digits, "0123456789"))]
		}
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 10, 8)
		if err != nil {
			return netip.AddrPort{}, false
		}
		b[i] = byte(n)
	}
	port := uint16(b[4])<<8 | uint16(b[5])
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[:4])), port), port != 0
}
