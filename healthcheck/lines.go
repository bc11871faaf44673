package healthcheck

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// errHungUp is the reason when the server ends the connection in the middle of
// the conversation.
var errHungUp = errors.New("the server closed the connection")

// polite is how long a check that has its verdict waits for the server to take
// leave, so that the server's log does not call it a lost connection.
const polite = 500 * time.Millisecond

// A talk is a conversation in lines: SMTP, POP3, IMAP, NNTP, FTP. Its errors
// name the protocol and what was being done, in the server's words.
type talk struct {
	*textproto.Reader
	dialer *Dialer
	conn   net.Conn
	heard  bytes.Buffer // all that the server said, for receive; the check's budget bounds it
}

// talk connects to the server, with TLS at once where s says so.
func (d *Dialer) talk(ctx context.Context, s *security) (*talk, error) {
	c, err := s.dial(ctx, d)
	if err != nil {
		return nil, err
	}
	t := &talk{dialer: d}
	t.over(c)
	return t, nil
}

func (t *talk) over(c net.Conn) {
	t.conn = c
	t.Reader = textproto.NewReader(bufio.NewReader(io.TeeReader(c, &t.heard)))
}

// say sends a line, or none but waits for the server when line is "".
func (t *talk) say(doing, line string) error {
	t.dialer.Stage("waiting for the answer to " + doing)
	if line == "" {
		t.dialer.Stage("waiting for the " + doing)
		return nil
	}
	if _, err := io.WriteString(t.conn, line+"\r\n"); err != nil {
		return t.failed(doing, err)
	}
	return nil
}

// failed says what was being done when err came.
func (t *talk) failed(doing string, err error) error {
	var reply *textproto.Error
	if errors.As(err, &reply) {
		return &answer{t.refused(doing, fmt.Sprintf("%d %s", reply.Code, reply.Msg)), reply}
	}
	return fmt.Errorf("%s %s: %w", t.dialer.Check.Type, doing, hungUp(err))
}

// answer is the error for a reply with another code than the wanted one: its
// text is fit for a log, the reply itself can be found by errors.As.
type answer struct {
	error
	reply *textproto.Error
}

func (a *answer) Unwrap() error { return a.reply }

// hungUp gives the end of a stream the words for it.
func hungUp(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errHungUp
	}
	return bare(err)
}

// refused is the error for an answer that is not the wanted one.
func (t *talk) refused(doing, answer string) error {
	return fmt.Errorf("%s %s: %s", t.dialer.Check.Type, doing, t.dialer.quote(answer))
}

// ask sends a line, if there is one, and reads a reply of a code and text, of
// one line or many (RFC 5321, RFC 959), which must have the code, or begin with
// it when that is shorter. The words of an error say what was asked; the line
// itself may hold a secret.
func (t *talk) ask(doing string, code int, line string) (string, error) {
	if err := t.say(doing, line); err != nil {
		return "", err
	}
	_, text, err := t.ReadResponse(code)
	if err != nil {
		return "", t.failed(doing, err)
	}
	return text, nil
}

// startTLS goes on inside of TLS. What came before the handshake could have
// been slipped in by anybody, so there must be none of it.
func (t *talk) startTLS(ctx context.Context, config *tls.Config) error {
	if t.R.Buffered() > 0 {
		return t.refused("starttls", "the server went on speaking before TLS began")
	}
	c, err := t.dialer.StartTLS(ctx, t.conn, config)
	if err != nil {
		return fmt.Errorf("%s starttls: %w", t.dialer.Check.Type, err)
	}
	t.over(c)
	return nil
}

// leave takes leave. The verdict is known: whatever happens now is no matter.
func (t *talk) leave(word string) {
	if t.say("farewell", word) == nil {
		t.conn.SetReadDeadline(time.Now().Add(polite))
		_, _ = t.ReadLine()
	}
	t.conn.Close()
}

// expect holds all that the server said against the check's expression.
func (t *talk) expect(m matcher) error {
	return t.dialer.expect(m, strings.ReplaceAll(t.heard.String(), "\r\n", "\n"))
}

// expect says so when an answer is not what the check wants; a nil m wants
// nothing.
func (d *Dialer) expect(m matcher, answer string) error {
	if m == nil || m.Match([]byte(answer)) {
		return nil
	}
	return fmt.Errorf("%s: the answer does not match %q: %s", d.Check.Type, m, d.quote(answer))
}

// quote makes a server's words fit for a log: short, on one line, and without
// our password, which some servers repeat.
func (d *Dialer) quote(s string) string {
	return shorten([]byte(strings.TrimSpace(d.transcript.hide(s))))
}
