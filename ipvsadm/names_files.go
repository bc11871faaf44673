package ipvsadm

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// hostsFile is a hosts(5) file.
type hostsFile struct {
	name map[netip.Addr]string
	addr map[hostQuery]netip.Addr
}

var errNotInHosts = errors.New("not in the hosts file")

func (h *hostsFile) address(name string, f ipvs.Family) (netip.Addr, error) {
	if a, ok := h.addr[hostQuery{strings.ToLower(name), f}]; ok {
		return a, nil
	}
	return netip.Addr{}, errNotInHosts
}

// hostsFile reads the hosts file on first use. The system's is empty where it
// is not there, and where it is not the first to be asked.
func (r *Resolver) hostsFile() (*hostsFile, error) {
	if r.hosts != nil {
		return r.hosts, nil
	}
	path := r.Hosts
	if path == "" {
		path = "/etc/hosts"
		// A file that cannot be read says nothing, as one that is not there.
		if order, _ := os.ReadFile("/etc/nsswitch.conf"); r.System != nil && !filesFirst(string(order)) {
			path = os.DevNull
		}
	}
	text, err := os.ReadFile(path)
	if err != nil && r.Hosts != "" {
		return nil, err
	}
	r.hosts = parseHosts(string(text))
	return r.hosts, nil
}

// filesFirst reports whether an nsswitch.conf(5) has hosts looked for in the
// hosts file before DNS, as it is where nothing is said.
func filesFirst(text string) bool {
	for line := range strings.Lines(text) {
		words := fields(line)
		if len(words) == 0 || words[0] != "hosts:" {
			continue
		}
		for _, source := range words[1:] {
			if source == "files" || source == "dns" {
				return source == "files"
			}
		}
		return false
	}
	return true
}

// parseHosts reads "address name alias...". The first line that has a name or
// an address counts, as it does for the C library.
func parseHosts(text string) *hostsFile {
	h := &hostsFile{make(map[netip.Addr]string), make(map[hostQuery]netip.Addr)}
	for line := range strings.Lines(text) {
		words := fields(line)
		if len(words) < 2 {
			continue
		}
		a, err := netip.ParseAddr(words[0])
		if err != nil {
			continue
		}
		if _, ok := h.name[a]; !ok {
			h.name[a] = words[1]
		}
		f := ipvs.IPv6
		if a.Is4() {
			f = ipvs.IPv4
		}
		for _, name := range words[1:] {
			q := hostQuery{strings.ToLower(name), f}
			if _, ok := h.addr[q]; !ok {
				h.addr[q] = a
			}
		}
	}
	return h
}

// portNames is a services(5) file.
type portNames struct {
	name map[portNumber]string
	port map[portName]uint16
}

type portNumber struct {
	port     uint16
	protocol ipvs.Protocol
}

type portName struct {
	name     string
	protocol ipvs.Protocol
}

// portNames reads the services file on first use. We read it ourselves because
// package net knows no names for ports, only ports for names.
func (r *Resolver) portNames() (*portNames, error) {
	if r.ports != nil {
		return r.ports, nil
	}
	path := r.Services
	if path == "" {
		path = "/etc/services"
	}
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && r.Services == "" {
		text, err = nil, nil // a slim image: no port has a name
	}
	if err != nil {
		return nil, err
	}
	r.ports = parseServices(string(text))
	return r.ports, nil
}

// parseServices reads "name port/protocol alias...". The first line counts.
func parseServices(text string) *portNames {
	s := &portNames{make(map[portNumber]string), make(map[portName]uint16)}
	for line := range strings.Lines(text) {
		words := fields(line)
		if len(words) < 2 {
			continue
		}
		number, protocol, _ := strings.Cut(words[1], "/")
		var p ipvs.Protocol
		port, err := strconv.ParseUint(number, 10, 16)
		if err != nil || p.UnmarshalText([]byte(protocol)) != nil {
			continue
		}
		if n := (portNumber{uint16(port), p}); s.name[n] == "" {
			s.name[n] = usableName(words[0])
		}
		for i, name := range words {
			if i == 1 {
				continue
			}
			if n := (portName{name, p}); s.port[n] == 0 {
				s.port[n] = uint16(port)
			}
		}
	}
	return s
}

// fields splits a line of either file into words, without its comment.
func fields(line string) []string {
	line, _, _ = strings.Cut(line, "#")
	return strings.Fields(line)
}
