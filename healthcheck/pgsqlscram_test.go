package healthcheck

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
)

// scramServer asks for so many rounds, and so long a salt, and then hangs up.
func scramServer(t *testing.T, rounds string, salt int) netip.AddrPort {
	t.Helper()
	return accepting(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		c.Read(buf) // the startup message
		c.Write(pgAuthentication(10, "SCRAM-SHA-256\x00\x00"))
		n, _ := c.Read(buf)
		_, nonce, _ := strings.Cut(string(buf[:n]), "r=")
		c.Write(pgAuthentication(11, fmt.Sprintf("r=%sx,s=%s,i=%s", nonce, strings.Repeat("c2Fs", salt/3), rounds)))
		c.Read(buf)
	})
}

// pgAuthentication is a message of the login.
func pgAuthentication(code uint32, data string) []byte {
	b := binary.BigEndian.AppendUint32([]byte{'R'}, uint32(8+len(data)))
	return append(binary.BigEndian.AppendUint32(b, code), data...)
}

// TestPostgreSQLRounds: a server cannot make a check hash for seconds, in which
// its deadline would pass.
func TestPostgreSQLRounds(t *testing.T) {
	for _, test := range []struct {
		rounds string
		salt   int
		want   string
	}{
		{"4096", 15, "the server closed the connection"}, // having got an answer
		{"1000001", 15, "the server wants the password hashed 1000001 times, a check does so 1000000 times at most"},
		{"10000000", 15, "the server wants the password hashed 10000000 times"},
		{"99999999999999999999", 15, "invalid SCRAM iteration count"},
		{"4096", 30 << 10, "a login of "},
	} {
		at := scramServer(t, test.rounds, test.salt)
		res := lookAt(t, Check{Type: "pgsql", Login: "monitor", Password: "watchword"}, Target{Real: at})
		if Judge(res.Err) != Down || !strings.Contains(res.Err.Error(), test.want) {
			t.Errorf("%s rounds, %d bytes of salt: %v, want %q", test.rounds, test.salt, res.Err, test.want)
		}
	}
}

// TestSCRAMConn: whatever the pieces in which messages come, all of them reach
// the library.
func TestSCRAMConn(t *testing.T) {
	all := bytes.Join([][]byte{
		pgAuthentication(10, "SCRAM-SHA-256\x00\x00"), pgAuthentication(11, "r=x,s=c2Fs,i=4096"), pgAuthentication(0, ""),
		{'1', 0, 0, 0, 4}, {'Z', 0, 0, 0, 5, 'I'}, {'D', 0, 0, 0x40, 4}, bytes.Repeat([]byte{'x'}, 0x4000),
		{'C', 0, 0, 0, 0}, {'R', 0, 0, 0, 4}, {'C', 0, 0, 0, 5, 'x'}, // lengths that cannot be
	}, nil)
	for name, r := range map[string]io.Reader{"at once": bytes.NewReader(all), "byte by byte": iotest.OneByteReader(bytes.NewReader(all))} {
		got, err := io.ReadAll(newSCRAMConn(replay{r: r}))
		if err != nil || !bytes.Equal(got, all) {
			t.Errorf("%s: %d of %d bytes, %v", name, len(got), len(all), err)
		}
	}
}
