package dns

import (
	"bufio"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Asker is what [Serve] passes questions on to; [System] is one.
type Asker interface {
	Address(name string, f ipvs.Family) (netip.Addr, error)
	Names(deadline time.Time, addrs []netip.Addr) map[netip.Addr]string
}

// Serve answers the questions of another process until in ends. A question and
// its answer are a line each:
//
//	ipv4 vip.example.com             10.0.0.1
//	ipv6 nohost                      error no such host
//	names 2000 10.0.0.1 10.0.0.2     vip.example.com -
//
// The number is the milliseconds that the answer may take; "-" is no name.
func Serve(in io.Reader, out io.Writer, ask Asker) error {
	lines := bufio.NewReader(in)
	for {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if _, err := io.WriteString(out, answer(strings.Fields(line), ask)+"\n"); err != nil {
			return err
		}
	}
}

func answer(question []string, ask Asker) string {
	if len(question) < 2 {
		return "error not a question"
	}
	if question[0] == "names" {
		return names(question[1], question[2:], ask)
	}
	var f ipvs.Family
	err := f.UnmarshalText([]byte(question[0]))
	if err == nil {
		var a netip.Addr
		if a, err = ask.Address(question[1], f); err == nil {
			return a.String()
		}
	}
	return "error " + oneLine(err.Error())
}

func names(milliseconds string, addrs []string, ask Asker) string {
	n, err := strconv.Atoi(milliseconds)
	if err != nil {
		return "error " + oneLine(err.Error())
	}
	list := make([]netip.Addr, len(addrs))
	for i, text := range addrs {
		if list[i], err = netip.ParseAddr(text); err != nil {
			return "error " + oneLine(err.Error())
		}
	}
	known := ask.Names(time.Now().Add(time.Duration(n)*time.Millisecond), list)
	words := make([]string, len(list))
	for i, a := range list {
		if words[i] = known[a]; words[i] == "" || strings.ContainsFunc(words[i], blank) {
			words[i] = "-"
		}
	}
	return strings.Join(words, " ")
}

func blank(r rune) bool { return r <= ' ' }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }
