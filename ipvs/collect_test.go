package ipvs

import (
	"slices"
	"testing"
)

func TestBlocks(t *testing.T) {
	for _, n := range []int{0, 1, firstBlock, firstBlock + 1, lastBlock, 5000} {
		var b blocks[int]
		var want []int
		for i := range n {
			*b.next() = i
			want = append(want, i)
		}
		if got := b.join(); !slices.Equal(got, want) {
			t.Errorf("%d elements became %d: %v", n, len(got), got)
		}
	}
}

func TestUnique(t *testing.T) {
	var hashes []uint64
	key := func(i *int) int { return *i % 1000 }
	long := make([]int, 1000)
	for i := range long {
		long[i] = 999 - i
	}
	for name, tc := range map[string]struct{ list, want []int }{
		"ten, one twice":  {[]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 0}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		"nothing":         {nil, nil},
		"nothing twice":   {long, long},
		"the first again": {append(slices.Clone(long), 1999), long},
		"all again":       {append(slices.Clone(long), long...), long},
	} {
		if got := unique(slices.Clone(tc.list), &hashes, key); !slices.Equal(got, tc.want) {
			t.Errorf("%s: %d elements, want %d", name, len(got), len(tc.want))
		}
	}
}
