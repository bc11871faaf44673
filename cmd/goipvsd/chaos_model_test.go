package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// What TestKernelChaos believes: a few lines that say what the tables must hold, made
// without a line of the daemon's own.

// chaosService is a service of the file.
type chaosService struct {
	proto, addr string // tcp, 192.0.2.10:80; real servers have its port
	scheduler   string
	flags       string // of the scheduler, as the file has them
	forward     string // nat, dr, fullnat
	plane       string // of full NAT
	persistent  int    // seconds
	quiescent   bool
	drain       bool
	fallback    bool
	onEth0      bool // vip_interface
	servers     map[int]chaosServer
}

// chaosServer is what the file says of a real server besides its address.
type chaosServer struct{ weight, upper int }

// chaosWord is what an operator said of a server.
type chaosWord struct {
	kind   string
	weight int
}

// chaosWho is a real server of a service.
type chaosWho struct {
	service string // as key
	host    int
}

func (s *chaosService) key() string  { return s.proto + " " + s.addr }
func (s *chaosService) name() string { return strings.NewReplacer(" ", "-", ":", "-").Replace(s.key()) }
func (s *chaosService) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }
func (s *chaosService) rip(host int) string {
	return fmt.Sprintf("10.9.0.%d:%s", 10+host, s.port())
}

// served: clients get answers through it. The topology is that of NAT, so services
// by DR are tables only.
func (s *chaosService) served() bool { return s.forward != "dr" }

// streams: it has connections that last.
func (s *chaosService) streams() bool { return s.served() && s.proto == "tcp" }

// health is where the checks go: those of UDP to the web server of the same host.
func (s *chaosService) health(host int) chaosSeat {
	if s.proto == "udp" {
		return chaosSeat{host, 80}
	}
	var port int
	_, _ = fmt.Sscan(s.port(), &port)
	return chaosSeat{host, port}
}

// write is the service in the file.
func (s *chaosService) write(b *strings.Builder) {
	fmt.Fprintf(b, "[[virtual]]\nname = %q\naddress = %q\nprotocol = %q\nscheduler = %q\nforward = %q\nquiescent = %v\n",
		s.name(), s.addr, s.proto, s.scheduler, s.forward, s.quiescent)
	if s.flags != "" {
		fmt.Fprintf(b, "scheduler_flags = [%q]\n", s.flags)
	}
	if s.persistent > 0 {
		fmt.Fprintf(b, "persistent = \"%ds\"\n", s.persistent)
	}
	if s.drain {
		b.WriteString("drain = \"1h\"\n")
	}
	if s.fallback {
		fmt.Fprintf(b, "fallback = [%q]\n", s.rip(chaosFallback))
	}
	if s.onEth0 {
		b.WriteString("vip_interface = \"eth0\"\n")
	}
	if s.forward == "fullnat" {
		fmt.Fprintf(b, "[virtual.fullnat]\nplane = %q\nlocal = [\"10.9.1.1-10.9.1.2\"]\n", s.plane)
	}
	b.WriteString("[virtual.check]\ntype = \"tcp\"\nreceive = \"^rs[0-9]\"\n")
	if s.proto == "udp" {
		b.WriteString("port = 80\n")
	}
	for _, h := range slices.Sorted(maps.Keys(s.servers)) {
		fmt.Fprintf(b, "[[virtual.real]]\naddress = %q\nweight = %d\n", s.rip(h), s.servers[h].weight)
		if u := s.servers[h].upper; u > 0 {
			fmt.Fprintf(b, "upper = %d\n", u)
		}
	}
}

// wanted is the service as a table should have it: the weight of each host that is
// there; hosts that may stay at weight 0 for the sake of connections are not.
func (s *chaosService) wanted(up func(chaosSeat) bool, words map[chaosWho]chaosWord) (weights map[int]int, capacity int) {
	weights = make(map[int]int)
	for h, c := range s.servers {
		word := words[chaosWho{s.key(), h}]
		switch {
		case word.kind == "drain":
		case word.kind == "maintain" || !up(s.health(h)):
			if s.quiescent {
				weights[h] = 0
			}
		default:
			weights[h] = c.weight
			if word.kind == "weight" {
				weights[h] = word.weight
			}
			capacity += weights[h]
		}
	}
	if capacity < 1 && s.fallback {
		for h := range weights {
			weights[h] = 0
		}
		weights[chaosFallback] = 1
	}
	return weights, capacity
}

// head is the line of the service in a table.
func (s *chaosService) head() string {
	head := s.key() + " " + s.scheduler
	if s.persistent > 0 {
		head += fmt.Sprintf(" persistent %ds", s.persistent)
	}
	if s.flags != "" {
		head += " " + s.flags
	}
	return head
}

// line is that of a real server.
func (s *chaosService) line(host, weight int) string {
	text := fmt.Sprintf("  %s %s %d", s.rip(host), s.forward, weight)
	if u := s.servers[host].upper; u > 0 {
		text += fmt.Sprintf(" upper %d", u)
	}
	return text
}
