package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"time"
)

// Client is a connection to the daemon. It is for one goroutine at a time.
type Client struct {
	conn net.Conn
	in   *bufio.Reader
	id   int
}

// Dial connects to the daemon whose socket is at path.
func Dial(ctx context.Context, path string) (*Client, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("connect to goipvsd: %w", err)
	}
	return &Client{conn: c, in: bufio.NewReader(c)}, nil
}

// Close ends the connection.
func (c *Client) Close() error { return c.conn.Close() }

// Do makes a request and puts its result into result, unless that is nil. An
// answer that is an error comes back as an *Error. After another error the
// connection is of no more use.
func (c *Client) Do(ctx context.Context, verb string, args, result any) error {
	line, err := c.request(verb, args)
	if err != nil {
		return err
	}
	deadline, _ := ctx.Deadline() // the zero time: none
	if err := c.conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if _, err := c.conn.Write(line); err != nil {
		return fmt.Errorf("ask goipvsd: %w", err)
	}
	answer, err := c.in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("answer of goipvsd: %w", err)
	}
	return c.decode(answer, result)
}

func (c *Client) request(verb string, args any) ([]byte, error) {
	c.id++
	r := Request{ID: json.RawMessage(strconv.Itoa(c.id)), Verb: verb}
	if args != nil {
		b, err := json.Marshal(args)
		if err != nil {
			return nil, err
		}
		r.Args = b
	}
	line, err := json.Marshal(r)
	if err == nil && len(line) >= MaxRequest {
		err = errors.New("the request is too large")
	}
	return append(line, '\n'), err
}

func (c *Client) decode(line []byte, result any) error {
	var r Response
	if err := json.Unmarshal(line, &r); err != nil {
		return fmt.Errorf("answer of goipvsd: %w", err)
	}
	if r.Error != nil {
		return r.Error
	}
	if !bytes.Equal(r.ID, []byte(strconv.Itoa(c.id))) {
		return fmt.Errorf("answer of goipvsd: it is for request %s, not %d", r.ID, c.id)
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(r.Result, result)
}
