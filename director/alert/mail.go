package alert

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/smtp"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/healthcheck"
)

// sendMail sends one mail about all events, by STARTTLS where the server has it:
// then its certificate must be valid and name the host of c.SMTP, as the lists
// of servers that fail are nobody else's. On the machine itself (a loopback
// address) certificates are not looked at, since Debian's mail servers come with
// a self-signed one and nobody stands in between.
func sendMail(ctx context.Context, c *Config, host string, list []Event) error {
	if len(c.MailTo) == 0 {
		return nil
	}
	server := cmp.Or(c.SMTP, "localhost:25")
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", server)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		_ = conn.SetDeadline(deadline)
	}
	name, _, _ := net.SplitHostPort(server)
	s, err := smtp.NewClient(conn, name)
	if err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	if err := deliver(s, conn, c, name, host, list); err != nil {
		return fmt.Errorf("mail: %w", err)
	}
	return nil
}

func deliver(s *smtp.Client, conn net.Conn, c *Config, server, host string, list []Event) error {
	if err := s.Hello(helo(host)); err != nil {
		return err
	}
	if ok, _ := s.Extension("STARTTLS"); ok {
		config, err := c.tlsFor(server, conn)
		if err != nil {
			return err
		}
		if err := s.StartTLS(config); err != nil {
			return startTLSError(server, err)
		}
	} else if c.Login != "" || c.Cert != "" {
		return fmt.Errorf("%s offers no STARTTLS: neither smtp_login nor smtp_cert is used without, nothing was sent", server)
	}
	if err := c.logIn(s, server); err != nil {
		return err
	}
	from := cmp.Or(c.MailFrom, "goipvs@"+helo(host))
	if err := s.Mail(from); err != nil {
		return err
	}
	var refused []error
	for _, to := range c.MailTo {
		if err := s.Rcpt(to); err != nil {
			refused = append(refused, fmt.Errorf("%s is refused: %w", to, err))
		}
	}
	if len(refused) == len(c.MailTo) {
		return errors.Join(refused...)
	}
	w, err := s.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(message(from, c.MailTo, host, list)); err != nil {
		return errors.Join(err, w.Close())
	}
	if err := w.Close(); err != nil {
		return err
	}
	_ = s.Quit() // the server has the mail, whatever it says now
	if len(refused) > 0 {
		return &partly{errors.Join(refused...)}
	}
	return nil
}

// tlsFor is how the mail server is spoken to, see sendMail.
func (c *Config) tlsFor(server string, conn net.Conn) (*tls.Config, error) {
	roots, err := c.authorities()
	if err != nil {
		return nil, err
	}
	local := roots == nil && onLoopback(conn)
	config := &tls.Config{ServerName: server, RootCAs: roots, InsecureSkipVerify: local} //nolint:gosec // see sendMail
	if c.Cert != "" {
		own, err := healthcheck.Certificate(c.Cert, c.Key)
		if err != nil {
			return nil, fmt.Errorf("smtp_cert: %w", err)
		}
		config.Certificates = []tls.Certificate{own}
	}
	return config, nil
}

// logIn says who we are, where the file has a login.
func (c *Config) logIn(s *smtp.Client, server string) error {
	if c.Login == "" {
		return nil
	}
	_, offered := s.Extension("AUTH")
	var way smtp.Auth
	switch ways := strings.Fields(strings.ToUpper(offered)); {
	case slices.Contains(ways, "PLAIN"):
		way = smtp.PlainAuth("", c.Login, c.Password, server)
	case slices.Contains(ways, "LOGIN"):
		way = &loginAuth{c.Login, c.Password}
	default:
		return fmt.Errorf("smtp_login: %s offers neither PLAIN nor LOGIN (%q)", server, offered)
	}
	if err := s.Auth(way); err != nil {
		return fmt.Errorf("smtp_login %s: %w", c.Login, err)
	}
	return nil
}

// loginAuth is LOGIN, which has no RFC: the server asks for a name, then for a
// password (draft-murchison-sasl-login).
type loginAuth struct{ name, password string }

// Start begins.
func (a *loginAuth) Start(*smtp.ServerInfo) (string, []byte, error) { return "LOGIN", nil, nil }

// Next answers the server's questions.
func (a *loginAuth) Next(asked []byte, more bool) ([]byte, error) {
	switch text := strings.ToLower(string(asked)); {
	case !more:
		return nil, nil
	case strings.HasPrefix(text, "user"):
		return []byte(a.name), nil
	case strings.HasPrefix(text, "pass"):
		return []byte(a.password), nil
	}
	return nil, fmt.Errorf("the server asks %q", asked)
}

// authorities are those of the file; nil: the system's.
func (c *Config) authorities() (*x509.CertPool, error) {
	if c.CA == "" {
		return nil, nil
	}
	pool, err := healthcheck.Authorities(c.CA)
	if err != nil {
		return nil, fmt.Errorf("smtp_ca: %w", err)
	}
	return pool, nil
}

// startTLSError tells what is wrong with the server's certificate, and what helps.
func startTLSError(server string, err error) error {
	var wrong *tls.CertificateVerificationError
	if errors.As(err, &wrong) {
		return fmt.Errorf("the certificate of %s is not trusted, nothing was sent: %w "+
			"(hint: smtp must name the server as its certificate does, and smtp_ca or the system's store must have the authority)", server, wrong.Err)
	}
	return fmt.Errorf("STARTTLS with %s: %w", server, err)
}

// onLoopback tells whether the other side is on this machine.
func onLoopback(c net.Conn) bool {
	a, ok := c.RemoteAddr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// helo is the host's name as one may say it to a mail server.
func helo(host string) string {
	if host == "" || strings.ContainsAny(host, " \r\n") {
		return "localhost"
	}
	return host
}

// message is the mail: what happened, a line for each event.
func message(from string, to []string, host string, list []Event) []byte {
	var b strings.Builder
	header := func(key, value string) { b.WriteString(key + ": " + oneLine(value) + "\r\n") }
	header("From", from)
	header("To", strings.Join(to, ", "))
	header("Subject", mime.QEncoding.Encode("utf-8", oneLine(subjectOf(host, list))))
	header("Date", list[0].Time.Format(time.RFC1123Z))
	header("Message-ID", fmt.Sprintf("<%d.%d@%s>", time.Now().UnixNano(), len(list), helo(host)))
	header("Auto-Submitted", "auto-generated")
	header("MIME-Version", "1.0")
	header("Content-Type", "text/plain; charset=utf-8")
	header("Content-Transfer-Encoding", "8bit")
	b.WriteString("\r\n")
	for i := range list {
		e := &list[i]
		line := e.Time.Format(time.DateTime) + "  " + e.summary()
		if e.Reason != "" {
			line += ": " + e.Reason
		}
		if e.Repeat > 0 {
			line += fmt.Sprintf(" (since %s, told %d times before)", e.Time.Format(time.DateTime), e.Repeat)
		}
		b.WriteString(oneLine(line) + "\r\n")
	}
	return []byte(b.String())
}

func subjectOf(host string, list []Event) string {
	text := "goipvs " + host + ": " + list[0].summary()
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// summary is the event in a few words.
func (e *Event) summary() string {
	text := e.Text
	if e.Real != "" {
		text += " " + e.Real
	}
	if e.Virtual != "" {
		text += " of " + e.Virtual
	}
	return text
}

// oneLine keeps what is in a value from becoming a line of its own.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}
