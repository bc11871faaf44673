package healthcheck

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxReply is how much of a redis answer a check takes.
const maxReply = 64 << 10

// redisCheck is AUTH with a password, SELECT with a database, and PING, or the
// command in request.
//
// Own code: go-redis has no client without its pool, which dials again behind
// our back and so falsifies the verdict and the time it took.
type redisCheck struct {
	*security
	receive  matcher
	commands []redisCommand
	ping     bool // nothing else was asked for
}

// redisCommand is a command with the words for its errors, which must not
// hold a password.
type redisCommand struct {
	doing string
	args  []string
}

func redis(c Check) (look, error) {
	if err := oneLine(c); err != nil {
		return nil, err
	}
	if c.Login != "" && c.Password == "" {
		return nil, errors.New("a login without a password")
	}
	s, err := newSecurity(c, tlsOff, tlsOn)
	if err != nil {
		return nil, err
	}
	m, err := newMatcher(c.Receive)
	return redisCheck{s, m, redisCommands(c), c.Request == ""}.look, err
}

func redisCommands(c Check) (list []redisCommand) {
	switch {
	case c.Login != "":
		list = append(list, redisCommand{"auth " + c.Login, []string{"AUTH", c.Login, c.Password}})
	case c.Password != "":
		list = append(list, redisCommand{"auth", []string{"AUTH", c.Password}})
	}
	if c.Database != "" {
		list = append(list, redisCommand{"select " + c.Database, []string{"SELECT", c.Database}})
	}
	request := strings.Fields(c.Request)
	if len(request) == 0 {
		request = []string{"PING"}
	}
	return append(list, redisCommand{strings.Join(request, " "), request})
}

func (r redisCheck) look(ctx context.Context, d *Dialer) error {
	c, err := r.dial(ctx, d)
	if err != nil {
		return err
	}
	in := bufio.NewReader(c)
	var answer string
	for _, command := range r.commands {
		d.Stage("waiting for the answer to " + command.doing)
		if _, err = io.WriteString(c, respCommand(command.args)); err == nil {
			answer, err = readRESP(in)
		}
		if err != nil {
			return d.redisFailed(command.doing, err)
		}
	}
	if r.ping && answer != "PONG" {
		return d.redisFailed("PING", redisError(answer))
	}
	return d.expect(r.receive, answer)
}

func (d *Dialer) redisFailed(doing string, err error) error {
	var said redisError
	switch {
	case errors.As(err, &said):
		return fmt.Errorf("redis %s: %s", doing, d.quote(string(said)))
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = errHungUp
	}
	return fmt.Errorf("redis %s: %w", doing, err)
}

// respCommand writes a command as an array of bulk strings.
func respCommand(args []string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// redisError is an error that the server answered.
type redisError string

func (e redisError) Error() string { return string(e) }

var errRESP = errors.New("not a redis answer")

// readRESP reads one answer of RESP2 and gives its text: strings and numbers
// as they are, the elements of arrays a line each, "" for null.
func readRESP(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for left := 1; left > 0; left-- {
		more, err := readElement(in, &b)
		if err != nil {
			return "", err
		}
		left += more
		if left > maxReply || b.Len() > maxReply {
			return "", ErrFlood
		}
		if left > 1 && b.Len() > 0 {
			b.WriteByte('\n')
		}
	}
	return b.String(), nil
}

// readElement reads one element into b, and returns how many more belong to it.
func readElement(in *bufio.Reader, b *strings.Builder) (int, error) {
	line, err := in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		err = errRESP
	}
	if err != nil {
		return 0, err
	}
	text := strings.TrimRight(string(line), "\r\n")
	if text == "" {
		return 0, errRESP
	}
	switch text[0] {
	case '+', ':':
		b.WriteString(text[1:])
		return 0, nil
	case '-':
		return 0, redisError(text[1:])
	}
	n, err := strconv.Atoi(text[1:])
	switch {
	case err != nil, n < -1, !strings.ContainsRune("$*", rune(text[0])):
		return 0, fmt.Errorf("%w: %s", errRESP, shorten([]byte(text)))
	case n > maxReply:
		return 0, ErrFlood
	case text[0] == '*':
		return max(n, 0), nil
	case n == -1:
		return 0, nil
	}
	return 0, readBulk(in, b, n)
}

func readBulk(in *bufio.Reader, b *strings.Builder, n int) error {
	if _, err := io.CopyN(b, in, int64(n)); err != nil {
		return err
	}
	_, err := in.Discard(2)
	return err
}
