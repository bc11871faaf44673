package director

import (
	"errors"
	"maps"

	"github.com/goipvs/goipvs/ipvs"
)

// look reads what the kernels have until a listing agrees with the one before,
// which may be that of the last tick: one listing proves presence, never absence.
// It may be broken off between two services and go on later, so that nobody waits
// for thousands of them.
type look struct {
	of   planes
	last *listing // before now; nil: none
	seen []*listing

	now  *listing // under way; nil: none
	rest []unread // of now
	// changed are services that were changed while now was under way: what was
	// read of them before is not what they are.
	changed map[ipvs.ServiceKey]ipvs.Service
	owed    int // reads before the look may be broken off, so that it comes to its end
}

// unread is a service whose destinations are still to be read.
type unread struct {
	from    ipvs.Lister
	service ipvs.ServiceInfo
}

// errPutOff: there was something else to do. The look goes on where it was.
var errPutOff = errors.New("put off")

const (
	mostListings = 5
	leastReads   = 4 // of a look that is broken off again and again
)

// run looks. settled is false when others kept writing: the listing is then
// whatever was seen in any of them. It is broken off, with errPutOff, when busy
// says that somebody waits; nil: nobody ever does.
func (w *look) run(busy func() bool) (l *listing, settled bool, err error) {
	w.owed = max(w.owed, 0) + leastReads
	for len(w.seen) < mostListings {
		if err := w.list(busy); err != nil {
			return nil, false, err
		}
		l, w.now = w.now, nil
		if w.last != nil && l.same(w.last) {
			return l, true, nil
		}
		w.last = l
		w.seen = append(w.seen, l)
	}
	for _, o := range w.seen {
		l.join(o)
	}
	return l, false, nil
}

// list asks the kernels once for services.
func (w *look) list(busy func() bool) error {
	if w.now == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	for len(w.rest) > 0 {
		if w.owed <= 0 && busy != nil && busy() {
			return errPutOff
		}
		next := w.rest[0]
		w.rest = w.rest[1:]
		w.owed--
		if err := w.read(next); err != nil {
			return err
		}
	}
	return nil
}

func (w *look) begin() error {
	w.now, w.rest, w.changed = newListing(), nil, make(map[ipvs.ServiceKey]ipvs.Service)
	for k, keys := range w.of {
		all, err := k.Services()
		if err != nil {
			return err
		}
		for i := range all {
			switch should, asked := keys[all[i].ServiceKey]; {
			case !asked:
			case should:
				w.rest = append(w.rest, unread{k, all[i]})
			default:
				w.now.also[all[i].ServiceKey] = true
			}
		}
	}
	return nil
}

func (w *look) read(u unread) error {
	key := u.service.ServiceKey
	dests, err := u.from.Destinations(key, nil)
	if errors.Is(err, ipvs.ErrNoService) {
		w.now.removed(key) // gone meanwhile
		return nil
	} else if err != nil {
		return err
	}
	if s, ok := w.changed[key]; ok {
		u.service.Service = s
	}
	w.now.services[key], w.now.dests[key] = u.service, dests
	return nil
}

// made takes note of what the kernel has acknowledged for a service. Where it was
// read already it is read again: a connection may have begun before it got no
// weight.
func (w *look) made(key ipvs.ServiceKey, s ipvs.Service, have []ipvs.DestinationInfo) {
	for _, l := range w.seen {
		l.made(key, s, have)
	}
	if w.now == nil {
		return
	}
	w.changed[key] = s
	info, read := w.now.services[key]
	if !read {
		return
	}
	for k, keys := range w.of {
		if keys[key] {
			w.rest = append(w.rest, unread{k, info})
			w.owed++
		}
	}
}

// asks reports whether the look is for these.
func (w *look) asks(p planes) bool {
	return maps.EqualFunc(w.of, p, maps.Equal[map[ipvs.ServiceKey]bool, map[ipvs.ServiceKey]bool])
}
