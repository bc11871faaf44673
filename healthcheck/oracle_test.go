package healthcheck

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/testserver"
)

// startListener stands in for Oracle's listener, which no Debian package has:
// it reads a CONNECT as the protocol lays it out and answers for services
// accepted, elsewhere, again (RESEND once), and for tnsping; others it refuses
// in the words that a real one uses.
func startListener(t *testing.T, config *tls.Config) uint16 {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerTNS(c)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String()).Port()
}

func answerTNS(c net.Conn) {
	defer c.Close()
	for asked := 1; ; asked++ {
		data, err := readConnect(c)
		if err != nil {
			return
		}
		switch {
		case strings.Contains(data, "SERVICE_NAME=accepted)"), strings.Contains(data, "SERVICE_NAME=again)") && asked == 2:
			tnsPacket(c, tnsAccept, "\x01\x3a\x00\x00\x20\x00\x7f\xff\x01\x00\x00\x00\x00\x20\x41\x41")
			return
		case strings.Contains(data, "SERVICE_NAME=again)"), strings.Contains(data, "SERVICE_NAME=forever)"):
			tnsPacket(c, tnsResend, "")
			continue
		case strings.Contains(data, "SERVICE_NAME=elsewhere)"):
			to := "(ADDRESS=(PROTOCOL=TCP)(HOST=192.0.2.1)(PORT=1521))"
			tnsPacket(c, tnsRedirect, string(binary.BigEndian.AppendUint16(nil, uint16(len(to))))+to)
			return
		case data == "(CONNECT_DATA=(COMMAND=ping))":
			refuse(c, "(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=0)(ALIAS=LISTENER))")
			return
		}
		refuse(c, "(DESCRIPTION=(TMP=)(VSNNUM=318767104)(ERR=12514)(ERROR_STACK=(ERROR=(CODE=12514)(EMFI=4))))")
		return
	}
}

func readConnect(c net.Conn) (string, error) {
	kind, body, err := readTNS(c)
	if err != nil || kind != tnsConnect {
		return "", fmt.Errorf("%d %w", kind, err)
	}
	length, offset := int(binary.BigEndian.Uint16(body[16:])), int(binary.BigEndian.Uint16(body[18:]))-8
	if offset+length != len(body) {
		return "", fmt.Errorf("connect data at %d, %d bytes, in %d", offset, length, len(body))
	}
	return string(body[offset:]), nil
}

func refuse(c net.Conn, text string) {
	tnsPacket(c, tnsRefuse, "\x04\x00"+string(binary.BigEndian.AppendUint16(nil, uint16(len(text))))+text)
}

func tnsPacket(w io.Writer, kind byte, body string) {
	p := binary.BigEndian.AppendUint16(nil, uint16(8+len(body)))
	w.Write(append(append(p, 0, 0, kind, 0, 0, 0), body...))
}

func TestOracle(t *testing.T) {
	t.Parallel()
	certs := newCertificates(t)
	config := func(c testserver.Certificate) *tls.Config {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	plain := startListener(t, nil)
	secure, expired := startListener(t, config(certs.good)), startListener(t, config(certs.expired))
	ping := Check{Type: "oracle"}
	service := func(name string) Check { return Check{Type: "oracle", Database: name} }
	examine(t, certs.states(certs.trust(service("accepted"), "on"), secure, expired)...)
	examine(t,
		row("up", service("accepted"), plain, ""),
		downState(t, ping),
		row("ping", ping, plain, ""),
		row("redirected", service("elsewhere"), plain, ""),
		row("asked again", service("again"), plain, ""),
		row("asked again without end", service("forever"), plain, "oracle connect forever: the listener asks for the request again and again"),
		row("no such service", service("gone"), plain, "oracle connect gone: refused: ORA-12514 the listener knows no service of this name"),
	)
}

func FuzzTNS(f *testing.F) {
	f.Add(connectPacket("(CONNECT_DATA=(COMMAND=ping))"))
	f.Add([]byte("\x00\x20\x00\x00\x04\x00\x00\x00\x04\x00\x00\x14(DESCRIPTION=(ERR=0))"))
	f.Fuzz(func(t *testing.T, wire []byte) {
		kind, body, err := readTNS(bytes.NewReader(wire))
		if err != nil {
			return
		}
		check := Check{Type: "oracle", Database: "x"}
		oracleCheck{database: "x"}.judge(newDialer(check, Target{}), kind, body)
		if len(body) > maxTNS {
			t.Errorf("a body of %d bytes", len(body))
		}
	})
}
