package director

import (
	"maps"
	"strings"
)

// Maintain says which files are in the maintenance folder. A file named
// ADDRESS, ADDRESS:PORT, or as the configuration names a server, with or
// without port, takes that server out of all services.
func (d *Director) Maintain(files map[string]bool) error {
	return d.do(func(s *state) {
		s.unsaved = s.unsaved || !maps.Equal(s.files, files)
		s.files = files
		for _, v := range s.services {
			s.maintain(v)
		}
		s.settle()
	})
}

// maintain holds the servers of a service against the files.
func (s *state) maintain(v *service) {
	for i := range v.Servers {
		r := &v.Servers[i]
		srv := v.mem.Server(r.Addr)
		was := srv.Maintenance
		srv.Maintenance = ""
		if len(s.files) > 0 { // the usual case are none, and the names of thousands of servers
			srv.Maintenance = s.fileOf(r)
		}
		switch {
		case srv.Maintenance == was:
			continue
		case was == "":
			s.emit(v.event(Maintenance, r.Addr, srv.Maintenance))
		case srv.Maintenance == "":
			s.emit(v.event(MaintenanceEnd, r.Addr, was))
		}
		s.touch(v)
	}
}

// fileOf is the file that takes a server out; empty: there is none.
func (s *state) fileOf(r *RealServer) string {
	for _, name := range r.fileNames() {
		if s.files[name] {
			return name
		}
	}
	return ""
}

// fileNames are the names of files that take a server out, the most particular
// first (ldirectord's order).
func (r *RealServer) fileNames() []string {
	ip := r.Addr.Addr().String()
	names := []string{r.Addr.String(), ip}
	if r.Addr.Addr().Is6() {
		names = append(names, "["+ip+"]")
	}
	if r.Name != "" && r.Name != r.Addr.String() {
		names = append(names, r.Name)
		host, port, ok := strings.Cut(r.Name, ":")
		if short, _, isLong := strings.Cut(host, "."); isLong {
			names = append(names, short)
			if ok {
				names = append(names, short+":"+port)
			}
		}
		if ok {
			names = append(names, host)
		}
	}
	return names
}
