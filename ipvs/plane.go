package ipvs

import (
	"errors"
	"strconv"
)

// Plane is where full NAT is done. The zero value leaves the choice to goipvsd.
type Plane uint8

// The planes, by the words of goipvs.toml.
const (
	PlaneAuto Plane = iota
	PlaneKernel
	PlaneUserspace
)

var planeWords = [...]string{PlaneAuto: "auto", PlaneKernel: "kernel", PlaneUserspace: "userspace"}

func (p Plane) String() string {
	if int(p) < len(planeWords) {
		return planeWords[p]
	}
	return strconv.Itoa(int(p))
}

// MarshalText gives the configuration's words: auto, kernel, userspace.
func (p Plane) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText takes these words.
func (p *Plane) UnmarshalText(b []byte) error {
	for i, w := range planeWords {
		if w == string(b) {
			*p = Plane(i)
			return nil
		}
	}
	return errors.New("plane " + strconv.Quote(string(b)) + ": want auto, kernel or userspace")
}
