package healthcheck

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
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
	_, err = t.ask(doing, 2, "PASS "+f.password) // 230, or 202: it was not wanted
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
	_, err = t.ask(doing, 2, "") // 226, or 250 (RFC 959 section 5.4)
	return string(b), err
}
