package mobyipvs

import (
	"fmt"

	"github.com/goipvs/goipvs/ipvs"
	moby "github.com/moby/ipvs"
)

// FromConfig converts the connection timeouts. A fraction of a second, which
// moby/ipvs would cut off, is ipvs.ErrRange.
func FromConfig(c *moby.Config) (ipvs.Timeouts, error) {
	t := ipvs.Timeouts{TCP: c.TimeoutTCP, TCPFin: c.TimeoutTCPFin, UDP: c.TimeoutUDP}
	if err := checkTimeouts(t); err != nil {
		return ipvs.Timeouts{}, fmt.Errorf("convert timeouts from moby/ipvs: %w", err)
	}
	return t, nil
}

// ToConfig converts the connection timeouts; zero keeps the kernel's value in
// both libraries. What is not in whole seconds is ipvs.ErrRange.
func ToConfig(t ipvs.Timeouts) (*moby.Config, error) {
	if err := checkTimeouts(t); err != nil {
		return nil, fmt.Errorf("convert timeouts to moby/ipvs: %w", err)
	}
	return &moby.Config{TimeoutTCP: t.TCP, TimeoutTCPFin: t.TCPFin, TimeoutUDP: t.UDP}, nil
}

func checkTimeouts(t ipvs.Timeouts) (err error) {
	if _, err = toSeconds(t.TCP); err != nil {
		return err
	}
	if _, err = toSeconds(t.TCPFin); err != nil {
		return err
	}
	_, err = toSeconds(t.UDP)
	return err
}
