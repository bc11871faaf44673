package evil

import (
	"bytes"
	"encoding/hex"
	"math/rand/v2"
	"net"
	"strings"
	"time"
)

// Behaviours are all there are, for checks of any protocol over TCP.
func Behaviours() []Behaviour {
	all := []Behaviour{
		{"closes at once", func(net.Conn) {}},
		{"hangs", until},
		{"resets at once", reset},
		{"resets after the request", func(c net.Conn) { heard(c); reset(c) }},
		{"closes its half", func(c net.Conn) { closeHalf(c); until(c) }},
		{"closes its half after the request", func(c net.Conn) { heard(c); closeHalf(c); until(c) }},
		{"sends zeros without end", endless("", "\x00")},
		{"sends newlines without end", endless("", "\r\n")},
		{"sends garbage without end", func(c net.Conn) { heard(c); flood(c, nil, garbage()) }},
		{"sends one byte at a time", func(c net.Conn) { drip(c, strings.Repeat("HTTP/1.1 200 OK\r\nX: ", 1<<10)) }},
		{"drips an SMTP greeting", func(c net.Conn) { drip(c, "220-"+strings.Repeat("x", 1<<10)) }},
		{"drips a TLS handshake", func(c net.Conn) {
			heard(c)
			drip(c, "\x16\x03\x03\x40\x00\x02\x00\x3f\xfc\x03\x03"+strings.Repeat("x", 1<<10))
		}},
		{"answers TLS with an endless handshake", endless("", "\x16\x03\x03\x00\x04\x00\x00\x00\x00")},
		{"headers without end", endless("HTTP/1.1 200 OK\r\n", "X-Endless: yes\r\n")},
		{"a header without end", endless("HTTP/1.1 200 OK\r\nX-Endless: ", "y")},
		{"a body without end", endless("HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", "endless body ")},
		{"chunks without end", endless("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n")},
		{"a body of which nothing comes", says("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")},
		{"interim answers without end", endless("", "HTTP/1.1 100 Continue\r\n\r\n")},
		{"redirects to itself", redirects("/again")},
		{"redirects elsewhere", redirects("http://198.51.100.1/")},
		{"a greeting without end", endless("", "220-and another line\r\n")},
		{"continuations without end", endless("", "* CAPABILITY\r\n")},
		{"greets as SMTP and hangs", says("220 evil.example ESMTP\r\n")},
		{"greets as POP3 and hangs", says("+OK <1@evil.example>\r\n")},
		{"greets as IMAP and hangs", says("* OK IMAP4rev1\r\n")},
		{"answers every line with 250", answers("220 evil\r\n", "250-more\r\n")},
		{"answers every line with +OK", answers("+OK evil\r\n", "+OK\r\n")},
		{"HTTP/2 settings without end", endless(h2Preface, "\x00\x00\x00\x04\x00\x00\x00\x00\x00")},
		{"HTTP/2 pings without end", endless(h2Preface, "\x00\x00\x08\x06\x00\x00\x00\x00\x0012345678")},
		{"HTTP/2 headers without end", endless(h2Preface, "\x00\x00\x04\x01\x00\x00\x00\x00\x01\x00\x01x\x00")},
	}
	for name, bytes := range lengths {
		all = append(all, Behaviour{"claims a huge length: " + name, says(string(unhex(bytes)))})
	}
	return all
}

// h2Preface is the SETTINGS frame that a server begins with.
const h2Preface = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"

// lengths are the beginnings of answers that promise far more than anybody
// should make room for.
var lengths = map[string]string{
	"HTTP body":        hex.EncodeToString([]byte("HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nx")),
	"HTTP chunk":       hex.EncodeToString([]byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nx")),
	"HTTP/2 frame":     "ffffff0400000000ff",
	"gRPC message":     "000000040000000000" + "00000101040000000188" + "0000050000000000017fffffff",
	"TLS record":       "160303ffff",
	"TLS message":      "1603034000" + "02ffffff",
	"LDAP BER":         "30847fffffff0201016184",
	"LDAP indefinite":  "3080308030803080308030803080",
	"MySQL packet":     "ffffff000a",
	"MySQL greeting":   "ffffff00" + "0a382e3000" + "01000000",
	"PostgreSQL":       "527fffffff00000000",
	"PostgreSQL error": "457fffffff53",
	"redis bulk":       hex.EncodeToString([]byte("$536870912\r\n")),
	"redis array":      hex.EncodeToString([]byte("*1000000000\r\n$1\r\n")),
	"redis nesting":    hex.EncodeToString(bytes.Repeat([]byte("*1\r\n"), 8000)),
	"IMAP literal":     hex.EncodeToString([]byte("* OK {2147483647}\r\n")),
	"IMAP list":        hex.EncodeToString([]byte("* OK " + strings.Repeat("(", 30000))),
	"DNS over TCP":     "ffff0000818000010fff00000000",
	"TNS accept":       "ffff000002000000",
	"TNS redirect":     "7fff000005000000ffff",
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}

func says(text string) func(net.Conn) {
	return func(c net.Conn) {
		heard(c)
		c.Write([]byte(text))
		until(c)
	}
}

func endless(first, again string) func(net.Conn) {
	return func(c net.Conn) {
		heard(c)
		flood(c, []byte(first), []byte(strings.Repeat(again, 1+4096/len(again))))
	}
}

func answers(first, again string) func(net.Conn) {
	return func(c net.Conn) {
		c.Write([]byte(first))
		buf := make([]byte, 4<<10)
		for {
			if _, err := c.Read(buf); err != nil {
				return
			}
			if _, err := c.Write([]byte(again)); err != nil {
				return
			}
		}
	}
}

func redirects(to string) func(net.Conn) {
	return func(c net.Conn) {
		heard(c)
		c.Write([]byte("HTTP/1.1 302 Found\r\nLocation: " + to + "\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"))
	}
}

func flood(c net.Conn, first, again []byte) {
	if _, err := c.Write(first); err != nil {
		return
	}
	for {
		if _, err := c.Write(again); err != nil {
			return
		}
	}
}

// drip sends slowly. It ends when the other side has gone.
func drip(c net.Conn, text string) {
	for i := range text {
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func garbage() []byte {
	b := make([]byte, 4<<10)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0)
	}
	c.Close()
}

func closeHalf(c net.Conn) {
	if h, ok := c.(interface{ CloseWrite() error }); ok {
		h.CloseWrite()
	}
}
