package sched

import (
	"net/netip"
	"time"
)

const (
	cacheBits     = 10
	cacheInterval = time.Minute
	cacheFull     = 30              // every so many runs everything is looked at
	cacheLimit    = 16 << cacheBits // entries before old ones have to go early
	cacheEarly    = 6 * time.Minute // and how old these are
	cacheDefault  = 24 * time.Hour  // net.ipv4.vs.lblc_expiration
)

// cache is what lblc and lblcr remember of virtual addresses: a hash table like
// the kernel's, because the order of its buckets decides who is forgotten first
// (ip_vs_lblc_check_expire).
type cache[T any] struct {
	buckets [1 << cacheBits]*cached[T]
	entries int
	rover   uint32 // bucket where the last search ended
	counter int    // runs since the last full one
	due     time.Duration
	forget  func(*T)
}

type cached[T any] struct {
	next  *cached[T]
	addr  netip.Addr
	used  time.Duration
	value T
}

func newCache[T any](now time.Duration, forget func(*T)) cache[T] {
	return cache[T]{counter: 1, due: after(now, cacheInterval), forget: forget}
}

// get finds what is known of an address and notes that it was asked for.
func (c *cache[T]) get(s *Service, addr netip.Addr) *T {
	for e := c.buckets[mul(fold(s.family, addr), cacheBits)]; e != nil; e = e.next {
		if e.addr == addr {
			e.used = s.now
			return &e.value
		}
	}
	return nil
}

// add remembers an address that is not known.
func (c *cache[T]) add(s *Service, addr netip.Addr) *T {
	b := &c.buckets[mul(fold(s.family, addr), cacheBits)]
	*b = &cached[T]{next: *b, addr: addr, used: s.now}
	c.entries++
	return &(*b).value
}

// collect does the runs that are due and returns when the next one is.
func (c *cache[T]) collect(now, expiration time.Duration) time.Duration {
	for c.due <= now {
		c.run(c.due, expiration)
		c.due = after(c.due, cacheInterval)
	}
	return c.due
}

func (c *cache[T]) run(now, expiration time.Duration) {
	if expiration == 0 {
		expiration = cacheDefault
	}
	if c.counter%cacheFull == 0 {
		c.sweep(now, expiration, c.entries+1)
		c.counter = 1
		return
	}
	if over := c.entries - cacheLimit; over > 0 {
		c.sweep(now, cacheEarly, min(over*4/3, cacheLimit/2))
		return
	}
	c.counter++
}

// sweep forgets what was not used for age, bucket by bucket from where the last
// sweep ended until goal is reached.
func (c *cache[T]) sweep(now, age time.Duration, goal int) {
	for range c.buckets {
		c.rover = (c.rover + 1) % uint32(len(c.buckets))
		for link := &c.buckets[c.rover]; *link != nil; {
			e := *link
			if now < after(e.used, age) {
				link = &e.next
				continue
			}
			*link = e.next
			c.forget(&e.value)
			c.entries--
			goal--
		}
		if goal <= 0 {
			return
		}
	}
}

func (c *cache[T]) close() {
	for _, e := range c.buckets {
		for ; e != nil; e = e.next {
			c.forget(&e.value)
		}
	}
}

// crowded tells whether a server has more connections than its weight while
// another one has less than half of its own (is_overloaded in ip_vs_lblc.c).
func (s *Service) crowded(d *Server) bool {
	if d.active <= d.weight {
		return false
	}
	for _, x := range s.list {
		if x.active*2 < x.weight {
			return true
		}
	}
	return false
}
