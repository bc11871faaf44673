package ipvs

import (
	"hash/maphash"
	"slices"
)

// blocks collects a listing of unknown length without copying what it has
// again and again: touching memory is what a long listing costs most.
type blocks[T any] struct {
	full [][]T
	last []T
}

const (
	firstBlock = 16
	lastBlock  = 512
)

// next returns a new element.
func (b *blocks[T]) next() *T {
	if n := len(b.last); n == cap(b.last) {
		if n > 0 {
			b.full = append(b.full, b.last)
		}
		b.last = make([]T, 0, max(firstBlock, min(2*n, lastBlock)))
	}
	b.last = b.last[:len(b.last)+1]
	return &b.last[len(b.last)-1]
}

// join returns the elements; nil when there are none.
func (b *blocks[T]) join() []T {
	if b.full == nil {
		return b.last
	}
	return slices.Concat(append(b.full, b.last)...)
}

// onePart is the number of entries that fit into one datagram, made under one
// lock, so that nothing is in it twice. Parts of a dump are of 32 KiB, but of
// 3776 bytes when the kernel is short of memory (netlink_dump), and an entry
// takes up to 410.
const onePart = 8

// unique takes out the entries that a dump gave twice, as it does when others
// are added before it is done. That is rare, so it first looks whether there
// can be any, by hashes sorted in memory that it keeps.
func unique[T any, K comparable](list []T, hashes *[]uint64, key func(*T) K) []T {
	if len(list) <= onePart {
		return list
	}
	seed := maphash.MakeSeed()
	h := (*hashes)[:0]
	for i := range list {
		h = append(h, maphash.Comparable(seed, key(&list[i])))
	}
	*hashes = h
	slices.Sort(h)
	if len(slices.Compact(h)) == len(list) {
		return list
	}
	seen := make(map[K]struct{}, len(list))
	return slices.DeleteFunc(list, func(e T) bool {
		_, twice := seen[key(&e)]
		seen[key(&e)] = struct{}{}
		return twice
	})
}
