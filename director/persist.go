package director

import (
	"maps"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// Persistent is what survives a restart besides the kernel's table. It is not
// changed once it is handed out.
type Persistent struct {
	// Overrides are what operators said.
	Overrides map[ServerID]*Override
	// Owned are the services that are ours: one that is no longer in the file
	// when the daemon comes back is taken away, not left to nobody.
	Owned map[ipvs.ServiceKey]bool
	// Gone are those of them that have left the file before, which nobody has to be
	// asked about again, and those that are not of the file but of its checks.
	Gone map[ipvs.ServiceKey]bool
	// Leaving are destinations on their way out, of the file's servers and of others.
	Leaving map[ServerID]Leave
	// Hold is the mass failure that is held.
	Hold MassFailure
	// Files are those in the maintenance folder: they count until it is read.
	Files map[string]bool
	// Sync are the sync daemons that we started, or found as our file wants them.
	Sync []ipvs.Daemon
}

// A MassFailure is one that is held, see Hold. The zero value is none.
type MassFailure struct {
	Since   time.Time
	Servers []ServerID // that are held
}

// save hands out what is to survive.
func (s *state) save() {
	s.d.o.Saved(s.persistent())
	s.unsaved = false
}

func (s *state) persistent() Persistent {
	p := Persistent{Overrides: maps.Clone(s.overrides), Owned: make(map[ipvs.ServiceKey]bool, len(s.services)), Gone: make(map[ipvs.ServiceKey]bool), Leaving: make(map[ServerID]Leave), Hold: s.massFailure(), Files: s.files, Sync: s.daemons}
	for key, v := range s.services {
		if v.Manual == nil {
			p.Owned[key] = true
		}
		if (v.gone || v.Path) && v.Manual == nil {
			p.Gone[key] = true
		}
		for a, l := range v.mem.Leaving {
			p.Leaving[ServerID{key, a}] = l
		}
	}
	return p
}

func (s *state) massFailure() (m MassFailure) {
	since, on := s.hold.Active()
	if !on {
		return m
	}
	m.Since = since
	for key, v := range s.services {
		for a, srv := range v.mem.Servers {
			if srv.Held {
				m.Servers = append(m.Servers, ServerID{key, a})
			}
		}
	}
	slices.SortFunc(m.Servers, ServerID.compare)
	return m
}
