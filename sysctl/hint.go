package sysctl

import (
	"errors"
	"io/fs"
	"strings"
	"syscall"
)

// Hint says what may help against an error of this package, or nothing.
func Hint(err error) string {
	var op *OpError
	if !errors.As(err, &op) {
		return ""
	}
	switch {
	case errors.Is(err, ErrChanged):
		return "it was left as it is; set it by hand: sysctl -w " + op.Knob.String() + "=" + strings.ReplaceAll(op.Arg, " ", "\\ ")
	case errors.Is(err, syscall.EROFS):
		return "/proc/sys is read-only, as in most containers: set it on the host (docker run --sysctl), or make the container privileged"
	case errors.Is(err, fs.ErrPermission):
		return "changing kernel knobs needs root (CAP_NET_ADMIN) in this network namespace"
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(string(op.Knob), "net/ipv4/vs/"):
		return "the knobs of IPVS are there once it is loaded: modprobe ip_vs; this kernel may also lack this one"
	case errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(string(op.Knob), "net/ipv6/"):
		return "is IPv6 off (ipv6.disable=1), or the interface missing?"
	}
	return ""
}
