package healthcheck

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

// mysqlServer says these packets, each after it has heard something; the first
// at once. What follows is silence until the other side hangs up.
func mysqlServer(t *testing.T, packets ...string) netip.AddrPort {
	t.Helper()
	return accepting(t, func(c net.Conn) {
		buf := make([]byte, 4<<10)
		for i, p := range packets {
			n := len(p)
			if _, err := c.Write(append([]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(2 * i)}, p...)); err != nil {
				return
			}
			if _, err := c.Read(buf); err != nil {
				return
			}
		}
		for err := error(nil); err == nil; {
			_, err = c.Read(buf)
		}
	})
}

// accepting takes one connection and does this with it, then closes it.
func accepting(t *testing.T, serve func(net.Conn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		serve(c)
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// mysqlGreeting is that of a server that begins with this way to log in.
func mysqlGreeting(plugin string) string {
	return "\x0a8.0.30\x00\x01\x00\x00\x0012345678\x00\x09\x82\x2d\x02\x00\x08\x00\x15" + strings.Repeat("\x00", 10) + "123456789012\x00" + plugin + "\x00"
}

// mysqlKey asks for the password encrypted with an RSA key of so many bits.
func mysqlKey(t *testing.T, bits int) string {
	t.Helper()
	n := make([]byte, bits/8)
	rand.Read(n)
	n[0] |= 0x80
	n[len(n)-1] |= 1
	der, err := x509.MarshalPKIXPublicKey(&rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 1<<31 - 1})
	if err != nil {
		t.Fatal(err)
	}
	return "\x01" + string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
}

func lookMySQL(t *testing.T, at netip.AddrPort) Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	res, err := Look(ctx, Check{Type: "mysql", Login: "monitor", Password: "watchword"}, Target{Real: at})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// Whatever a server says, it is the server that is down, and the reason says why.
func TestMySQLServers(t *testing.T) {
	const switchTo = "\xfe"
	for _, test := range []struct {
		name    string
		packets []string
		want    string
	}{
		{"a greeting of one byte", []string{"0"}, "mysql: a malformed answer"},
		{"a greeting cut short", []string{mysqlGreeting("x")[:20]}, "mysql: a malformed answer"},
		{"no greeting but an error", []string{"\xff\x69\x04Host 'x' is blocked"}, "mysql login monitor: 1129 Host 'x' is blocked"},
		{"an older protocol", []string{"\x09x"}, "mysql login monitor: unsupported protocol version 9"},
		{"a plugin nobody knows", []string{mysqlGreeting("mysql_native_password"), switchTo + "auth_gssapi_client\x00x"},
			"mysql login monitor: the server wants this user to log in by auth_gssapi_client, which checks cannot"},
		{"the password in clear", []string{mysqlGreeting("mysql_native_password"), switchTo + "mysql_clear_password\x00x"},
			`mysql login monitor: the server wants the password in clear, for which checks want TLS (tls = "starttls")`},
		{"the old password", []string{mysqlGreeting("mysql_native_password"), switchTo}, "mysql login monitor: the server wants a password as before MySQL 4.1"},
		{"a key that is none", []string{mysqlGreeting("caching_sha2_password"), "\x01\x04", "\x01-----BEGIN"}, "mysql login monitor: no pem data found"},
	} {
		res := lookMySQL(t, mysqlServer(t, test.packets...))
		if Judge(res.Err) != Down || !strings.HasPrefix(res.Err.Error(), test.want) {
			t.Errorf("%s: %v, want %s\n%s", test.name, res.Err, test.want, res.Transcript)
		}
		if strings.Contains(res.Transcript+res.Err.Error(), "watchword") {
			t.Errorf("%s: the password is told", test.name)
		}
	}
}

// A server's key may be so large that to encrypt with it takes a minute, which no
// deadline would end.
func TestMySQLLargeKey(t *testing.T) {
	res := lookMySQL(t, mysqlServer(t, mysqlGreeting("caching_sha2_password"), "\x01\x04", mysqlKey(t, 400_000)))
	if !errors.Is(res.Err, ErrFlood) {
		t.Errorf("%v after %v", res.Err, res.Took)
	}
}

// A server may announce 16 MiB inside of TLS, where nothing but the driver sees it,
// on each of a hundred connections: no room is made for it.
func TestMySQLAnnouncesInTLS(t *testing.T) {
	pair := testserver.NewAuthority(t).Issue(t, time.Time{}, "evil.example")
	cert, err := tls.LoadX509KeyPair(pair.CertFile, pair.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	at := accepting(t, func(c net.Conn) {
		greeting := strings.Replace(mysqlGreeting("mysql_native_password"), "\x09\x82", "\x09\x8a", 1) // CLIENT_SSL is 0x0800
		_, _ = c.Write(append([]byte{byte(len(greeting)), 0, 0, 0}, greeting...))
		if _, err := io.ReadFull(c, make([]byte, 36)); err != nil {
			return
		}
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}})
		_, _ = s.Read(make([]byte, 4<<10))
		_, _ = s.Write([]byte{0xfe, 0xff, 0xff, 3, 0})
		_, _ = s.Read(make([]byte, 1))
	})
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	res, err := Look(ctx, Check{Type: "mysql", Login: "monitor", Password: "watchword", TLS: TLS{Mode: "starttls", Insecure: true}}, Target{Real: at})
	runtime.ReadMemStats(&after)
	if err != nil || !errors.Is(res.Err, ErrFlood) {
		t.Errorf("%v %v after %v, want it found out\n%s", err, res.Err, res.Took, res.Transcript)
	}
	if made := after.TotalAlloc - before.TotalAlloc; made > 8<<20 {
		t.Errorf("%d bytes were allocated", made)
	}
}
