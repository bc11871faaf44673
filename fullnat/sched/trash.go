package sched

import "time"

// The kernel looks at its trash every minute, and frees what has had no
// reference for two (IP_VS_DEST_TRASH_PERIOD). It has one trash for a network
// namespace, whose minute begins when something comes into it; here every
// service has its own.
const (
	trashInterval = time.Minute
	trashPeriod   = 2 * time.Minute
)

// discard moves a server that was taken from the list to the trash.
func (s *Service) discard(d *Server) {
	d.available, d.idle = false, false
	s.trashed++
	if s.trashed == 1 { // the first one winds up the clock
		s.trashNext = after(s.now, trashInterval)
		s.wake(s.trashNext)
	}
}

// collectTrash is ip_vs_dest_trash_expire: it runs when due and returns when it
// is to run again. A server's idle time begins when the collector first sees it
// without references, and is not reset by a reference that came and went.
func (s *Service) collectTrash() time.Duration {
	if s.now < s.trashNext {
		return s.trashNext
	}
	for addr, d := range s.servers {
		switch {
		case d.available || d.referenced():
		case !d.idle:
			d.idle, d.idleSince = true, s.now
		case s.now >= d.idleSince+trashPeriod:
			delete(s.servers, addr)
			s.trashed--
		}
	}
	s.trashNext = never
	if s.trashed > 0 {
		s.trashNext = after(s.now, trashInterval)
	}
	return s.trashNext
}
