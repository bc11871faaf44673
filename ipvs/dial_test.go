package ipvs

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestEnterError(t *testing.T) {
	for errno, want := range map[unix.Errno]error{
		unix.EPERM:  fs.ErrPermission,
		unix.EINVAL: ErrInvalid,
		unix.ENOMEM: unix.ENOMEM,
	} {
		if err := enterError(errno); !errors.Is(err, want) {
			t.Errorf("%v: %v", errno, err)
		}
	}
}

func TestDialErrors(t *testing.T) {
	for _, tc := range []struct {
		name string
		o    Options
		want error
		text string
	}{
		{"no such namespace", Options{Netns: "/run/netns/no such"}, fs.ErrNotExist, "ipvs: open /run/netns/no such: no such file or directory"},
		{"negative timeout", Options{Timeout: -time.Second}, ErrRange, "ipvs: open: out of range: timeout -1s"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Dial(tc.o)
			var op *OpError
			if c != nil || !errors.Is(err, tc.want) || !errors.As(err, &op) || err.Error() != tc.text {
				t.Errorf("%v", err)
			}
		})
	}
}

// A kernel that gives IPVS the number of "no operation" would say yes to
// everything.
func TestFamilyNumberZero(t *testing.T) {
	for _, id := range []uint16{1, unix.NLMSG_MIN_TYPE - 1} {
		s, c := newScript(t)
		s.family = id
		if err := c.resolve(); !errors.Is(err, ErrReply) {
			t.Errorf("%d: %v", id, err)
		}
	}
}
