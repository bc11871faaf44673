package sysctl

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// Knob is a kernel knob by its path under /proc/sys, such as
// "net/ipv4/conf/eth0.100/rp_filter". Parse and Conf4 make good ones. As text
// it is written like sysctl(8) does.
type Knob string

// Conf4 is the IPv4 knob of an interface, or of "all" or "default".
func Conf4(dev, name string) Knob { return Knob("net/ipv4/conf/" + dev + "/" + name) }

// Conf6 is the IPv6 knob of an interface, or of "all" or "default".
func Conf6(dev, name string) Knob { return Knob("net/ipv6/conf/" + dev + "/" + name) }

// VS is a knob of IPVS: VS("conntrack"). Its file is there once ip_vs is loaded.
func VS(name string) Knob { return Knob("net/ipv4/vs/" + name) }

// The switches that make a host forward packets. Both are set for all
// interfaces at once.
const (
	Forward4 Knob = "net/ipv4/ip_forward"
	Forward6 Knob = "net/ipv6/conf/all/forwarding"
)

// Parse reads the name of a knob in either notation of sysctl(8): what stands
// first, a dot or a slash, separates the parts, and the other one is part of a
// name (of an interface) or stands for the separator in it.
func Parse(name string) (Knob, error) {
	file := strings.TrimPrefix(name, "/proc/sys/")
	if i := strings.IndexAny(file, "./"); i >= 0 && file[i] == '.' {
		file = swap(file)
	}
	parts := strings.Split(file, "/")
	bad := func(p string) bool { return p == "" || p == "." || p == ".." }
	if len(parts) < 2 || slices.ContainsFunc(parts, bad) || strings.ContainsAny(file, "\x00 \t\n") {
		return "", fmt.Errorf("sysctl: %q is not the name of a kernel knob, such as net.ipv4.ip_forward", name)
	}
	return Knob(file), nil
}

// String is the knob in dots, as sysctl(8) prints it.
func (k Knob) String() string { return swap(string(k)) }

// MarshalText is String.
func (k Knob) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is Parse.
func (k *Knob) UnmarshalText(text []byte) (err error) {
	*k, err = Parse(string(text))
	return err
}

func swap(s string) string {
	return strings.Map(func(r rune) rune {
		switch r {
		case '.':
			return '/'
		case '/':
			return '.'
		}
		return r
	}, s)
}

// Conf takes a knob of an interface apart: "ipv4" or "ipv6", the interface, the
// knob's own name. ok is false for others.
func (k Knob) Conf() (family, dev, name string, ok bool) {
	p := strings.Split(string(k), "/")
	if len(p) != 5 || p[0] != "net" || p[2] != "conf" || p[1] != "ipv4" && p[1] != "ipv6" {
		return "", "", "", false
	}
	return p[1], p[3], p[4], true
}

// Name is the last part of the knob.
func (k Knob) Name() string { return path.Base(string(k)) }

// OpError is the error of an operation on a knob. Err tells what the kernel
// said: fs.ErrNotExist for a knob this kernel lacks, or an interface,
// fs.ErrPermission, EROFS in most containers, EINVAL for a bad value.
type OpError struct {
	Op   string // "read", "set", "undo"
	Knob Knob
	Arg  string // the value, for set and undo
	Err  error
}

func (e *OpError) Error() string {
	s := "sysctl: " + e.Op + " " + e.Knob.String()
	if e.Arg != "" {
		s += "=" + e.Arg
	}
	return s + ": " + e.Err.Error()
}

func (e *OpError) Unwrap() error { return e.Err }

// ErrChanged: the knob no longer has the value it was set to, so that Undo left
// it alone.
var ErrChanged = errors.New("changed by somebody else since")
