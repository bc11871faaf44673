package fullnat

// slab is a loop's connections, by index. Chunks never move, so that pointers
// into them stay, and are never given back: what was needed once will be again.
type slab[T any] struct {
	chunks []*[slabChunk]T
	free   []int32
	used   int32 // places ever used
	live   int
}

const slabChunk = 256

func (s *slab[T]) at(i int32) *T { return &s.chunks[i/slabChunk][i%slabChunk] }

// take returns a place that is free, and its index.
func (s *slab[T]) take() (*T, int32) {
	s.live++
	if n := len(s.free); n > 0 {
		i := s.free[n-1]
		s.free = s.free[:n-1]
		return s.at(i), i
	}
	i := s.used
	if int(i/slabChunk) == len(s.chunks) {
		s.chunks = append(s.chunks, new([slabChunk]T))
	}
	s.used++
	return s.at(i), i
}

func (s *slab[T]) put(i int32) {
	s.live--
	s.free = append(s.free, i)
}

// connSlab is the slab of TCP connections, which have timers.
type connSlab struct{ slab[conn] }

// flowSlab is the slab of UDP sessions.
type flowSlab struct{ slab[flow] }

func (s *flowSlab) timerOf(i int32) *timer { return &s.at(i).timer }

func (s *connSlab) timerOf(i int32) *timer { return &s.at(i).timer }
