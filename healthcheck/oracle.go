package healthcheck

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// oracleCheck asks an Oracle listener for a service by TNS, the transport of
// its databases: to ACCEPT the connection, or to REDIRECT it, is well. Without
// a database it asks, as tnsping does, whether the listener is there.
//
// It does not log in: the one driver in Go, sijms/go-ora, is 17 MB. Whoever
// wants a query has the external check, as ldirectord's users need a driver
// beside it too.
type oracleCheck struct {
	*security
	database string
}

// Packet types of TNS.
const (
	tnsConnect  = 1
	tnsAccept   = 2
	tnsRefuse   = 4
	tnsRedirect = 5
	tnsResend   = 11
)

// maxTNS is the largest packet that a listener's answer needs.
const maxTNS = 8 << 10

func oracle(c Check) (look, error) {
	if strings.ContainsAny(c.Database, "()=\x00 \r\n") {
		return nil, fmt.Errorf("database: %q is not a service name", c.Database)
	}
	s, err := newSecurity(c, tlsOff, tlsOn)
	return oracleCheck{s, c.Database}.look, err
}

func (o oracleCheck) doing() string {
	if o.database == "" {
		return "oracle ping"
	}
	return "oracle connect " + o.database
}

func (o oracleCheck) look(ctx context.Context, d *Dialer) error {
	c, err := o.dial(ctx, d)
	if err != nil {
		return err
	}
	kind, body, err := o.ask(c)
	if err == nil && kind == tnsResend { // a listener may ask for it again, once
		kind, body, err = o.ask(c)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", o.doing(), hungUp(err))
	}
	if err := o.judge(d, kind, body); err != nil {
		return fmt.Errorf("%s: %w", o.doing(), err)
	}
	return nil
}

func (o oracleCheck) ask(c io.ReadWriter) (byte, []byte, error) {
	if _, err := c.Write(connectPacket(o.connectData())); err != nil {
		return 0, nil, err
	}
	return readTNS(c)
}

func (o oracleCheck) connectData() string {
	if o.database == "" {
		return "(CONNECT_DATA=(COMMAND=ping))"
	}
	return "(DESCRIPTION=(CONNECT_DATA=(SERVICE_NAME=" + o.database + ")(CID=(PROGRAM=goipvs)(HOST=goipvs)(USER=goipvs))))"
}

// connectPacket is a CONNECT with the connect data behind its fixed part.
func connectPacket(data string) []byte {
	const fixed = 58
	p := make([]byte, fixed, fixed+len(data))
	be := binary.BigEndian
	be.PutUint16(p[0:], uint16(fixed+len(data)))
	p[4] = tnsConnect
	be.PutUint16(p[8:], 314)     // version
	be.PutUint16(p[10:], 300)    // oldest version we understand
	be.PutUint16(p[12:], 0x0c41) // service options
	be.PutUint16(p[14:], maxTNS) // session data unit
	be.PutUint16(p[16:], 0x7fff) // maximum transmission data unit
	be.PutUint16(p[18:], 0x7f08) // protocol characteristics
	be.PutUint16(p[22:], 1)      // our byte order
	be.PutUint16(p[24:], uint16(len(data)))
	be.PutUint16(p[26:], fixed)
	be.PutUint32(p[28:], 512) // largest data to receive
	p[32], p[33] = 0x41, 0x41 // no native services
	return append(p, data...)
}

// readTNS reads one packet.
func readTNS(r io.Reader) (kind byte, body []byte, err error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return 0, nil, err
	}
	size := int(binary.BigEndian.Uint16(head[:]))
	switch {
	case size < len(head) || head[4] == 0 || head[4] > 19:
		return 0, nil, fmt.Errorf("not a TNS answer: %q", head)
	case size > maxTNS:
		return 0, nil, ErrFlood
	}
	body = make([]byte, size-len(head))
	_, err = io.ReadFull(r, body)
	return head[4], body, err
}

// tnsCode finds the listener's error in its words, which are also those of a
// refused ping, with 0.
var tnsCode = regexp.MustCompile(`\(ERR=(\d{1,6})\)`)

func (o oracleCheck) judge(d *Dialer, kind byte, body []byte) error {
	switch kind {
	case tnsAccept:
		return nil
	case tnsRedirect:
		d.Note("the listener sends clients elsewhere")
		return nil
	case tnsResend:
		return errors.New("the listener asks for the request again and again")
	case tnsRefuse:
		return o.refused(d, body)
	}
	return fmt.Errorf("an answer of type %d", kind)
}

// refused reads a REFUSE: two bytes of reasons, a length, and text such as
// "(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=12514)...)".
func (o oracleCheck) refused(d *Dialer, body []byte) error {
	text := ""
	if len(body) > 4 {
		text = string(body[4:])
	}
	code := ""
	if m := tnsCode.FindStringSubmatch(text); m != nil {
		code = m[1]
	}
	switch {
	case code == "0" && o.database == "":
		return nil
	case code == "":
		return fmt.Errorf("refused: %s", d.quote(text))
	}
	return fmt.Errorf("refused: %s", d.quote(strings.TrimSpace(fmt.Sprintf("ORA-%05s %s", code, tnsReasons[code]))))
}

// tnsReasons are the listener's errors that operators meet, in our words.
var tnsReasons = map[string]string{
	"12505": "the listener knows no instance of this SID",
	"12514": "the listener knows no service of this name",
	"12516": "no handler of the service is free",
	"12518": "the listener could not hand the connection over",
	"12519": "no handler of the service is free",
	"12520": "no handler of the wanted kind is free",
	"12528": "all instances of the service block new connections",
	"12537": "the listener closed the connection",
	"12541": "no listener",
	"1153":  "the listener did not understand the request",
	"1189":  "the listener could not authenticate the user",
}
