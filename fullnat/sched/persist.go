package sched

import (
	"container/heap"
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// heldTemplate is how long a template lives once its timer found connections
// that hold it, instead of the service's timeout and for good
// (ip_vs_conn.c, ip_vs_conn_expire).
const heldTemplate = time.Minute

// hiddenPort is the virtual port that the kernel gives a template so that it is
// not found any more. A template of a service that has this port is therefore not
// hidden: it leads again when its server may be led to, unless there is a newer
// one, and after that (ip_vs_check_template).
const hiddenPort = 0xffff

// network is a client's address under the service's netmask: the key of its
// template. The kernel's key has the virtual address and port or the mark too,
// which are the service's here.
type network [16]byte

// template leads the clients of a network to the server of the first of them.
type template struct {
	server   *Server
	key      network
	older    *template // of the same key, see hiddenPort
	hidden   bool      // not found any more, lives on until its timer ends it
	holders  int32     // connections that were led by it
	timeout  time.Duration
	deadline time.Duration
	due      time.Duration // when to look at it: not after deadline, order of the heap
}

// restart moves the deadline; the heap notices when it gets there. Deadlines
// never move back: a timeout gets shorter only when it has just run out.
func (t *template) restart(now time.Duration) { t.deadline = after(now, t.timeout) }

// choosePersistent is ip_vs_sched_persist. A template leads to its server also
// when that is overloaded, and the scheduler is not asked.
func (s *Service) choosePersistent(client, virtual netip.AddrPort) (Choice, bool) {
	key := mask(client.Addr(), s.family, s.config.Netmask)
	t := s.templates.byKey[key]
	if t != nil && !s.valid(t.server) {
		if s.config.Addr.Port() != hiddenPort {
			s.templates.hide(t)
		}
		t = nil
	}
	if t == nil {
		d := s.scheduler.choose(client, virtual)
		if d == nil {
			return Choice{}, false
		}
		t = s.templates.add(s.now, key, d, s.config.Timeout)
		s.wake(t.due)
	}
	return Choice{Server: t.server, template: t}, true
}

// valid is ip_vs_check_template.
func (s *Service) valid(d *Server) bool {
	return d.available && (d.weight != 0 || !s.settings.ExpireQuiescentTemplate)
}

func mask(a netip.Addr, f ipvs.Family, m ipvs.Netmask) network {
	key := network(a.As16())
	if f == ipvs.IPv4 {
		b := m.IPv4()
		v := binary.BigEndian.Uint32(key[12:]) & binary.BigEndian.Uint32(b[:])
		binary.BigEndian.PutUint32(key[12:], v)
		return key
	}
	length, _ := m.Prefix(f)
	for i := range key {
		switch rest := length - 8*i; {
		case rest <= 0:
			key[i] = 0
		case rest < 8:
			key[i] &= ^byte(0) << (8 - rest)
		}
	}
	return key
}

// templates are those of one service. The zero value has none.
type templates struct {
	byKey  map[network]*template
	timers timers
}

func (ts *templates) add(now time.Duration, key network, d *Server, timeout time.Duration) *template {
	if ts.byKey == nil {
		ts.byKey = map[network]*template{}
	}
	t := &template{server: d, key: key, older: ts.byKey[key], timeout: timeout}
	t.restart(now)
	t.due = t.deadline
	ts.byKey[key] = t
	heap.Push(&ts.timers, t)
	d.persistent++
	d.bound()
	return t
}

func (ts *templates) hide(t *template) {
	t.hidden = true
	ts.unlink(t)
}

func (ts *templates) unlink(t *template) {
	newest := ts.byKey[t.key]
	switch {
	case newest != t:
		for newest.older != t {
			newest = newest.older
		}
		newest.older = t.older
	case t.older != nil:
		ts.byKey[t.key] = t.older
	default:
		delete(ts.byKey, t.key)
	}
}

// expire ends the templates that are due and returns when the next one is.
func (ts *templates) expire(now time.Duration) time.Duration {
	for len(ts.timers) > 0 {
		t := ts.timers[0]
		switch {
		case t.due > now:
			return t.due
		case t.deadline > now: // restarted since
		case t.holders > 0:
			t.timeout = heldTemplate
			t.restart(now)
		default:
			heap.Pop(&ts.timers)
			ts.end(t)
			continue
		}
		t.due = t.deadline
		heap.Fix(&ts.timers, 0)
	}
	return never
}

func (ts *templates) end(t *template) {
	if !t.hidden {
		ts.unlink(t)
	}
	t.server.persistent--
	t.server.released()
}

// timers is a heap of templates by the time they are due.
type timers []*template

func (h timers) Len() int           { return len(h) }
func (h timers) Less(i, j int) bool { return h[i].due < h[j].due }
func (h timers) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *timers) Push(x any)        { *h = append(*h, x.(*template)) }

func (h *timers) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return t
}
