package healthcheck

import (
	"bufio"
	"context"
	"encoding/base64"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// Servers that repeat what they hear, as some do in their errors and pages for
// debugging, do not bring a password into the reason or the transcript, which
// people see and logs keep.
func TestSecretsEchoed(t *testing.T) {
	const login, password = "monitor", `w/tch+"word`
	plain := base64Of("\x00" + login + "\x00" + password)
	basic := base64.StdEncoding.EncodeToString([]byte(login + ":" + password))
	for _, test := range []struct {
		check Check
		greet string
		say   func(heard string) string // to a line, or to an HTTP header's end
	}{
		{Check{Type: "http", Receive: "never"}, "", func(s string) string { return "HTTP/1.0 200 OK\r\n\r\n" + s }},
		{Check{Type: "http"}, "", func(s string) string {
			_, auth, _ := strings.Cut(s, "Authorization: ")
			auth, _, _ = strings.Cut(auth, "\r")
			return "HTTP/1.0 401 who is " + auth + "\r\n\r\n"
		}},
		{Check{Type: "http_proxy", Request: "example.com:443"}, "", func(s string) string { return "HTTP/1.0 407 " + strings.ReplaceAll(s, "\r\n", " ") + "\r\n\r\n" }},
		{Check{Type: "smtp"}, "220 x\r\n", func(s string) string {
			if strings.HasPrefix(s, "EHLO") {
				return "250 AUTH PLAIN\r\n"
			}
			return "535 what is " + s + "\r\n"
		}},
		{Check{Type: "smtp"}, "220 x\r\n", func(s string) string {
			switch {
			case strings.HasPrefix(s, "EHLO"):
				return "250 AUTH LOGIN\r\n"
			case s == "AUTH LOGIN" || s == base64Of(login):
				return "334 \r\n"
			}
			return "535 what is " + s + "\r\n"
		}},
		{Check{Type: "pop3"}, "+OK\r\n", func(s string) string {
			if strings.HasPrefix(s, "USER") {
				return "+OK\r\n"
			}
			return "-ERR what is " + s + "\r\n"
		}},
		{Check{Type: "imap"}, "* OK\r\n", func(s string) string {
			if strings.HasPrefix(s, "a CAP") {
				return "a OK\r\n"
			}
			return "a NO what is " + s + "\r\n"
		}},
		{Check{Type: "ftp"}, "220 x\r\n", func(s string) string {
			if strings.HasPrefix(s, "USER") {
				return "331 x\r\n"
			}
			return "530 what is " + s + "\r\n"
		}},
		{Check{Type: "nntp"}, "200 x\r\n", func(s string) string {
			switch {
			case strings.HasPrefix(s, "MODE"):
				return "200 x\r\n"
			case strings.HasPrefix(s, "AUTHINFO USER"):
				return "381 x\r\n"
			}
			return "481 what is " + s + "\r\n"
		}},
		{Check{Type: "redis"}, "", func(s string) string {
			if s == password {
				return "-ERR what is " + s + "\r\n"
			}
			return ""
		}},
	} {
		test.check.Login, test.check.Password = login, password
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		whole := strings.HasPrefix(test.check.Type, "http")
		go repeat(l, test.greet, whole, test.say)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		res, err := Look(ctx, test.check, Target{Real: netip.MustParseAddrPort(l.Addr().String())})
		cancel()
		l.Close()
		if err != nil || Judge(res.Err) != Down {
			t.Fatalf("%s: %v, %v\n%s", test.check.Type, err, res.Err, res.Transcript)
		}
		told := res.Err.Error() + "\n" + res.Transcript
		for _, s := range []string{password, `w/tch+\"word`, plain, basic, base64Of(password)} {
			if strings.Contains(told, s) {
				t.Errorf("%s tells %q:\n%s", test.check.Type, s, told)
			}
		}
		if !strings.Contains(told, "***") {
			t.Errorf("%s: the server repeated nothing:\n%s", test.check.Type, told)
		}
	}
}

// repeat answers each line, or each whole header, of one connection.
func repeat(l net.Listener, greet string, whole bool, say func(string) string) {
	c, err := l.Accept()
	if err != nil {
		return
	}
	defer c.Close()
	c.Write([]byte(greet))
	in := bufio.NewReader(c)
	heard := ""
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		if heard += line; whole && line != "\r\n" {
			continue
		}
		c.Write([]byte(say(strings.TrimRight(heard, "\r\n"))))
		if heard = ""; whole {
			return
		}
	}
}
