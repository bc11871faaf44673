package fullnat

// wheel is a hashed timer wheel of one-second slots for the connections of a
// slab. A connection is in one slot; when that is reached it is asked when it
// really ends, and put into another one if that is later. So a byte that moves
// costs a store, not a timer.
type wheel struct {
	slots [wheelSlots]int32 // heads of lists: index+1, 0 is empty
	tick  uint32            // the second up to which slots were looked at
	armed int
}

const wheelSlots = 1024

// timer is a connection's place in the wheel.
type timer struct {
	next, prev int32 // index+1
	at         uint32
	armed      bool
}

// timed is a slab of things that have a timer.
type timed interface{ timerOf(i int32) *timer }

// arm puts i into the slot of a second, or the farthest there is.
func (w *wheel) arm(s timed, i int32, second uint32) {
	t := s.timerOf(i)
	if t.armed {
		w.disarm(s, i)
	}
	second = min(max(second, w.tick+1), w.tick+wheelSlots-1)
	head := &w.slots[second%wheelSlots]
	*t = timer{next: *head, at: second, armed: true}
	if *head != 0 {
		s.timerOf(*head - 1).prev = i + 1
	}
	*head = i + 1
	w.armed++
}

func (w *wheel) disarm(s timed, i int32) {
	t := s.timerOf(i)
	if !t.armed {
		return
	}
	if t.prev != 0 {
		s.timerOf(t.prev - 1).next = t.next
	} else {
		w.slots[t.at%wheelSlots] = t.next
	}
	if t.next != 0 {
		s.timerOf(t.next - 1).prev = t.prev
	}
	*t = timer{}
	w.armed--
}

// advance calls due for everything in the slots up to now; due arms again or
// not.
func (w *wheel) advance(s timed, now uint32, due func(i int32)) {
	if now > w.tick+wheelSlots {
		w.tick = now - wheelSlots
	}
	for w.tick < now {
		w.tick++
		for head := &w.slots[w.tick%wheelSlots]; *head != 0; {
			i := *head - 1
			w.disarm(s, i)
			due(i)
		}
	}
}
