package director

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// ErrNoServer is the error of a selector that matches nothing.
var ErrNoServer = errors.New("no such real server")

// A Selector names real servers as operators do.
type Selector struct {
	// Server is an address with or without a port, or the name the file gives it.
	Server string
	// Service is the service's name, or its address; empty: every service.
	Service string
}

// Override sets an operator's word on all servers that the selector matches, or
// takes it back with nil. It returns the servers, and which of them it was news
// for: a word that stands already is left as it is, with who said it and when.
func (d *Director) Override(sel Selector, o *Override) (ids, changed []ServerID, err error) {
	if o != nil {
		if err := o.Check(); err != nil {
			return nil, nil, err
		}
	}
	stopped := d.do(func(s *state) {
		ids = s.match(sel)
		if len(ids) == 0 {
			err = noServer(sel)
			return
		}
		for _, id := range ids {
			if !o.says(s.overrides[id]) {
				s.override(id, o, "")
				changed = append(changed, id)
			}
		}
		s.save() // also when nothing changed: it may have been impossible then
		s.settle()
	})
	return ids, changed, cmp.Or(stopped, err)
}

func noServer(sel Selector) error {
	if sel.Service != "" {
		return fmt.Errorf("%w: %s of %s", ErrNoServer, sel.Server, sel.Service)
	}
	return fmt.Errorf("%w: %s", ErrNoServer, sel.Server)
}

// override sets or takes back one word. reason is why it ended, when no person
// ended it.
func (s *state) override(id ServerID, o *Override, reason string) {
	v := s.services[id.Service]
	old := s.overrides[id]
	if o == nil {
		delete(s.overrides, id)
	} else {
		s.overrides[id] = o.of(s.server(id))
	}
	if s.server(id) == nil {
		return
	}
	v.mem.Server(id.Addr).Override = s.overrides[id]
	s.touch(v)
	switch {
	case o != nil:
		s.emit(v.event(ServerOverride, id.Addr, o.String()))
	case old != nil:
		if reason == "" {
			reason = old.String()
		}
		s.emit(v.event(ServerEnabled, id.Addr, reason))
	}
}

// of is the word with the name of the server that it is about.
func (o *Override) of(r *RealServer) *Override {
	c := *o
	if c.Name = ""; r != nil && !sameAddr(r.Name, r.Addr) {
		c.Name = r.Name
	}
	return &c
}

// server finds a real server of the file.
func (s *state) server(id ServerID) *RealServer {
	if v := s.services[id.Service]; v != nil {
		return v.server(id)
	}
	return nil
}

// followNames takes what operators said to where the servers are now that they
// said it of: the word is about the machine, whatever its name led to when it was
// said, before the last start even.
func (s *state) followNames() {
	moved := make(map[ServerID]*Override)
	for id, o := range s.overrides {
		r := s.server(id)
		if r != nil && o.Name == "" { // said when states had no names
			s.overrides[id] = o.of(r)
		}
		v := s.services[id.Service]
		if v == nil || o.Name == "" || r != nil && r.Name == o.Name {
			continue
		}
		if i := slices.IndexFunc(v.Servers, func(r RealServer) bool { return r.Name == o.Name }); i >= 0 {
			delete(s.overrides, id)
			moved[ServerID{id.Service, v.Servers[i].Addr}] = o
		}
	}
	maps.Copy(s.overrides, moved)
}

// expire ends the overrides whose time is over.
func (s *state) expire() {
	now := s.d.now()
	ended := false
	for id, o := range s.overrides {
		if !o.active(now) {
			s.override(id, nil, o.String()+" (expired)")
			ended = true
		}
	}
	if ended {
		s.save()
	}
}

// match finds the servers of a selector, in order.
func (s *state) match(sel Selector) (ids []ServerID) {
	for _, key := range s.keys() {
		v := s.services[key]
		if v.gone || v.Path || sel.Service != "" && !v.answersTo(sel.Service) {
			continue
		}
		for i := range v.Servers {
			if v.Servers[i].answersTo(sel.Server) {
				ids = append(ids, ServerID{key, v.Servers[i].Addr})
			}
		}
	}
	return ids
}

func (v *VirtualService) answersTo(text string) bool {
	k := v.Key()
	return text == v.Name || text == k.String() || k.FWMark == 0 && (text == k.Addr.String() || sameAddr(text, k.Addr))
}

func (r *RealServer) answersTo(text string) bool {
	if text == r.Name || sameAddr(text, r.Addr) {
		return true
	}
	host, _, ok := strings.Cut(r.Name, ":")
	return ok && text == host && host != ""
}

// sameAddr reports whether the text is an address, with or without port, that
// is a's.
func sameAddr(text string, a netip.AddrPort) bool {
	if p, err := netip.ParseAddrPort(text); err == nil {
		return p == a
	}
	ip, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return err == nil && ip == a.Addr()
}
