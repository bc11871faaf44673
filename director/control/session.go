package control

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"slices"
	"time"
)

// session is one client's connection.
type session struct {
	server *Server
	conn   *net.UnixConn
	peer   Peer
	idle   time.Time // waiting for a request since; the server's lock guards it
}

var errTooLarge = errors.New("request too large")

func (x *session) run(ctx context.Context) {
	defer x.server.leave(x)
	var err error
	if x.peer, err = peerOf(x.conn); err != nil {
		return
	}
	in := bufio.NewReader(x.conn)
	for ctx.Err() == nil {
		_ = x.conn.SetReadDeadline(time.Now().Add(x.server.Limits.Read))
		line, err := readLine(in)
		if errors.Is(err, errTooLarge) {
			x.answer(&Response{Error: Errorf(TooLarge, "a request has at most %d bytes", MaxRequest)})
			return
		}
		if err != nil {
			return // gone, silent, or too slow
		}
		x.server.waiting(x, time.Time{})
		if !x.answer(x.handle(ctx, line)) || !x.server.waiting(x, time.Now()) {
			return
		}
	}
}

// readLine reads up to a newline, MaxRequest bytes at most.
func readLine(in *bufio.Reader) (line []byte, err error) {
	for {
		part, err := in.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > MaxRequest:
			return nil, errTooLarge
		case err == nil:
			return line, nil
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}

func (x *session) handle(ctx context.Context, line []byte) *Response {
	r, err := parse(line)
	if err != nil {
		return &Response{ID: r.ID, Error: Errorf(BadRequest, "not a request: %v", err)}
	}
	v, known := x.server.Verbs[r.Verb]
	switch {
	case !known:
		return &Response{ID: r.ID, Error: Errorf(UnknownVerb, "unknown verb %q", r.Verb)}
	case v.Write && x.peer.UID != 0 && x.peer.UID != x.server.UID:
		x.server.Log.Warn("request on the control socket refused", "event", "request_denied", "verb", r.Verb, "uid", x.peer.UID, "pid", x.peer.PID)
		return &Response{ID: r.ID, Error: &Error{Code: Denied, Message: r.Verb + ": permission denied",
			Hint: "only root and the user that goipvsd runs as may change something"}}
	case v.Write:
		x.server.Log.Info("request on the control socket", "event", "request", "verb", r.Verb, "uid", x.peer.UID, "pid", x.peer.PID)
	}
	return respond(r.ID, func() (any, error) { return v.Do(ctx, x.peer, r.Args) })
}

// parse reads one request: one JSON object of known fields and nothing else.
func parse(line []byte) (r Request, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return r, errors.New("more than one value on a line")
	}
	if len(r.ID) > 0 && (r.ID[0] == '{' || r.ID[0] == '[') {
		return Request{}, errors.New("id is a number or a string")
	}
	return r, nil
}

func respond(id json.RawMessage, do func() (any, error)) *Response {
	result, err := do()
	var own *Error
	switch {
	case errors.As(err, &own):
		return &Response{ID: id, Error: own}
	case err != nil:
		return &Response{ID: id, Error: Errorf(Failed, "%v", err)}
	}
	raw, ready := result.(json.RawMessage)
	if !ready {
		if raw, err = json.Marshal(result); err != nil {
			return &Response{ID: id, Error: Errorf(Failed, "%v", err)}
		}
	}
	return &Response{ID: id, Result: raw}
}

// answer sends a response and reports whether the client took it.
func (x *session) answer(r *Response) bool {
	b, err := r.line()
	if err != nil {
		return false
	}
	_ = x.conn.SetWriteDeadline(time.Now().Add(x.server.Limits.Write))
	_, err = x.conn.Write(b)
	return err == nil
}

// line is the response as it is sent. A result is on one line already, and may be
// megabytes, which json.Marshal would read once more.
func (r *Response) line() ([]byte, error) {
	b, err := json.Marshal(Response{ID: r.ID, Error: r.Error})
	if err != nil || r.Result == nil {
		return append(b, '\n'), err
	}
	if b = b[:len(b)-1]; len(b) > 1 {
		b = append(b, ',')
	}
	b = slices.Concat(b, []byte(`"result":`), r.Result)
	return append(b, "}\n"...), nil
}
