package dump

import (
	"errors"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestWhole(t *testing.T) {
	other := errors.New("other")
	for _, c := range []struct {
		name        string
		interrupted int // answers before the last
		last        error
		calls       int
		want        error
	}{
		{"at once", 0, nil, 1, nil},
		{"interrupted twice", 2, nil, 3, nil},
		{"another error", 1, other, 2, other},
		{"never whole", 1000, nil, attempts, netlink.ErrDumpInterrupted},
	} {
		t.Run(c.name, func(t *testing.T) {
			calls := 0
			got, err := Whole(func() (int, error) {
				if calls++; calls <= c.interrupted {
					return calls, netlink.ErrDumpInterrupted
				}
				return calls, c.last
			})
			if !errors.Is(err, c.want) || calls != c.calls || got != calls {
				t.Errorf("%d, %v after %d calls; want %v after %d", got, err, calls, c.want, c.calls)
			}
		})
	}
}
