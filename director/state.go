package director

import (
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// state is everything the Director's one goroutine owns.
type state struct {
	d                  *Director
	setup              *Setup
	services           map[ipvs.ServiceKey]*service
	hold               Hold
	nat                sourceNAT
	last               *listing                 // the tick's before, and what was made since; nil: not to be relied on
	unsettled          bool                     // others keep changing the tables, so absence proves nothing
	lost               error                    // why the kernel cannot be reached; nil: it can
	recheck            bool                     // there is something else to check, once this is settled
	all                []*Server                // see servers; nil: to be made anew
	dirty              map[ipvs.ServiceKey]bool // to be decided anew
	reload             ReloadStatus
	ending             []string               // see Reload.Ending; of what is done now
	daemons            []ipvs.Daemon          // sync daemons that we started
	noTimeouts, noSync refusal                // the kernel's
	overrides          map[ServerID]*Override // also those of servers that are not in the file now
	files              map[string]bool        // in the maintenance folder
	vips               map[netip.Addr]string  // as last handed out
	paths              []netip.Addr           // likewise
	unsaved            bool                   // something that is to survive has changed
	own                timeline               // events of the daemon as a whole
	yielded            bool                   // another process has taken over
	stopping           bool                   // all services are being drained
	began              time.Time
	looking            *look  // at the kernels, broken off for who waited; nil: none
	round              *round // of a tick, likewise
}

// service is one service and what is known of it.
type service struct {
	VirtualService
	mem      Memory
	decision Decision
	decided  bool
	have     []ipvs.DestinationInfo // as last seen
	seen     ipvs.ServiceInfo
	there    bool // its plane has the service, as last seen or made
	answers  bool // likewise, when nothing was under way
	up       bool // as last told
	// asked is what the kernel was last asked to hold, made the same when it
	// does; nil: nothing yet.
	asked, made *ipvs.Entry
	drift       string  // how the kernel differs from made
	former      *former // where it ran before; nil: nowhere that it is not gone from
	shadowed    bool    // it runs in user space, and the kernel has it, too
	covered     bool    // it runs in user space, and the kernel has its address with every port
	shadowTold  string  // shadow, as last said
	told        Choice  // where it runs, as last told
	// gone: it left the file and is kept only until its connections are over.
	gone    bool
	checks  map[netip.AddrPort]int // how many each server has
	results map[netip.AddrPort]checks
	since   time.Time // of up
	refusal refusal
	failure error // the refusal, for who asked for it

	// failures are of connecting to servers, as last asked; nil: not in user space.
	failures map[netip.AddrPort]uint64

	events       timeline
	serverEvents map[netip.AddrPort]*timeline
}

func newService(v *VirtualService) *service {
	return &service{
		VirtualService: *v,
		results:        make(map[netip.AddrPort]checks),
		serverEvents:   make(map[netip.AddrPort]*timeline),
	}
}

// refusal is the kernel's last no to a service, so that it is said once and
// asked again less and less often.
type refusal struct {
	text  string
	again time.Time // not before
	pause time.Duration
}

const (
	firstPause   = time.Second
	longestPause = 30 * time.Second
)

func (r *refusal) set(now time.Time, text string) (news bool) {
	news = text != r.text
	if text == "" {
		*r = refusal{}
		return news
	}
	r.pause = min(max(2*r.pause, firstPause), longestPause)
	r.text, r.again = text, now.Add(r.pause)
	return news
}

// keys are those of all services in hand, in order.
func (s *state) keys() []ipvs.ServiceKey {
	return slices.SortedFunc(maps.Keys(s.services), ipvs.ServiceKey.Compare)
}

// servers are all real servers of the file. They are looked at after every
// verdict, so the list is kept until another file is in place.
func (s *state) servers() iter.Seq[*Server] {
	if s.all == nil {
		for _, v := range s.services {
			if v.Manual != nil || v.Path || v.refused() {
				continue
			}
			for i := range v.Servers {
				s.all = append(s.all, v.mem.Server(v.Servers[i].Addr))
			}
		}
	}
	return slices.Values(s.all)
}

// emit writes an event into the log and the timelines and tells who listens.
func (s *state) emit(e Event) {
	if e.of != nil && e.of.Path {
		if e.Kind != KernelRefused {
			return
		}
		e.of = nil // hidden itself, but its trouble is not
	}
	e.Time = s.d.now()
	e.log(s.d.log)
	if e.Kind.Level == debug {
		return
	}
	switch {
	case e.of == nil:
		s.own.add(e)
	case e.Server == "":
		e.of.events.add(e)
	default:
		e.of.history(e.addr).add(e)
	}
	s.d.o.Events(e)
}

func (v *service) history(a netip.AddrPort) *timeline {
	t := v.serverEvents[a]
	if t == nil {
		t = new(timeline)
		v.serverEvents[a] = t
	}
	return t
}
