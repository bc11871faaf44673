package ipvsadm

import (
	"io"
	"strconv"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// locals is -G: the local addresses of one service of full NAT, or of all.
func (s *session) locals(c *Command) error {
	e, err := s.kernel.need()
	if err == nil {
		err = e.listWith(true, nil)
	}
	if err != nil {
		return err
	}
	all := e.services
	if key := c.Change.Service.ServiceKey; c.given.has(colService) {
		one, ok := e.service(key)
		if !ok {
			return &ipvs.OpError{Op: "get local addresses", Object: key.String(), Err: ipvs.ErrNoService}
		}
		all = []ipvs.ServiceInfo{one}
	}
	sortServices(all)
	if c.given.has(colJSON) {
		s.kernel.listed = e
		return listJSON(&output{w: s.Stdout}, s.kernel, ipvs.Info{}, all, ListOptions{JSON: true})
	}
	return printLocals(s.Stdout, all)
}

// printLocals prints in dpvs' columns, and as there in numbers only.
func printLocals(w io.Writer, services []ipvs.ServiceInfo) error {
	out := &output{w: w}
	out.b = localsRow(out.b, "VIP:VPORT", "TOTAL", "SNAT_IP", "CONFLICTS", "CONNS")
	var view textView
	for i := range services {
		s := &services[i]
		name := string(view.endpoint(nil, 0, s.Addr, s.Protocol, maxEndpoint))
		if s.FWMark != 0 { // of which dpvs has none
			name = string(view.serviceName(nil, s.ServiceKey))
		}
		out.b = localsRow(out.b, name, strconv.Itoa(len(s.Locals)))
		for _, l := range s.Locals {
			out.b = localsRow(out.b, "", "", l.Addr.String(), strconv.FormatUint(l.Conflicts, 10), strconv.FormatUint(l.Conns, 10))
		}
		if err := out.spill(); err != nil {
			return err
		}
	}
	return out.end(nil)
}

func localsRow(b []byte, columns ...string) []byte {
	for i, c := range columns {
		start := len(b)
		b = append(padTo(append(b, c...), start, [...]int{20, 8, 20, 10, 10}[i]), ' ')
	}
	b[len(b)-1] = '\n'
	return b
}

// setWords are the values of --set.
func setWords(t ipvs.Timeouts) string {
	var b []byte
	for _, d := range [...]time.Duration{t.TCP, t.TCPFin, t.UDP} {
		b = append(strconv.AppendInt(b, int64(d/time.Second), 10), ' ')
	}
	return string(b[:len(b)-1])
}
