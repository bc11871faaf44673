package fullnat

import (
	"sync/atomic"

	"github.com/goipvs/goipvs/ipvs"
)

// counters are one loop's share of what a server has done. Each loop has a
// cache line of its own: it alone writes there, the control plane reads.
type counters struct {
	conns, inPkts, outPkts, inBytes, outBytes atomic.Uint64

	failed atomic.Uint64 // connects that failed
	live   atomic.Int64
	_      [8]byte
}

// segment is how many bytes make a packet in our counters: a proxy sees a
// stream, the kernel counts what is on the wire. It is what one packet carries
// on Ethernet with TCP timestamps.
const segment = 1448

func packets(n int) uint64 { return uint64(n+segment-1) / segment }

func (c *counters) in(n int) {
	c.inBytes.Add(uint64(n))
	c.inPkts.Add(packets(n))
}

func (c *counters) out(n int) {
	c.outBytes.Add(uint64(n))
	c.outPkts.Add(packets(n))
}

func (c *counters) datagramsIn(n, bytes uint64) {
	c.inBytes.Add(bytes)
	c.inPkts.Add(n)
}

func (c *counters) datagramsOut(n, bytes uint64) {
	c.outBytes.Add(bytes)
	c.outPkts.Add(n)
}

func (c *counters) addTo(s *ipvs.Stats) {
	s.Conns += c.conns.Load()
	s.InPkts += c.inPkts.Load()
	s.OutPkts += c.outPkts.Load()
	s.InBytes += c.inBytes.Load()
	s.OutBytes += c.outBytes.Load()
}

func (c *counters) add(s ipvs.Stats) {
	c.conns.Add(s.Conns)
	c.inPkts.Add(s.InPkts)
	c.outPkts.Add(s.OutPkts)
	c.inBytes.Add(s.InBytes)
	c.outBytes.Add(s.OutBytes)
}

// total sums the shares of all loops.
func total(shares []counters) (s ipvs.Stats) {
	for i := range shares {
		shares[i].addTo(&s)
	}
	return s
}

func live(shares []counters) (n int64) {
	for i := range shares {
		n += shares[i].live.Load()
	}
	return n
}

// plus and minus are of the counts alone, not of the rates.
func plus(a, b ipvs.Stats) ipvs.Stats {
	return ipvs.Stats{
		Conns: a.Conns + b.Conns, InPkts: a.InPkts + b.InPkts, OutPkts: a.OutPkts + b.OutPkts,
		InBytes: a.InBytes + b.InBytes, OutBytes: a.OutBytes + b.OutBytes,
	}
}

func minus(a, b ipvs.Stats) ipvs.Stats {
	return ipvs.Stats{
		Conns: a.Conns - b.Conns, InPkts: a.InPkts - b.InPkts, OutPkts: a.OutPkts - b.OutPkts,
		InBytes: a.InBytes - b.InBytes, OutBytes: a.OutBytes - b.OutBytes,
	}
}

func failures(shares []counters) (n uint64) {
	for i := range shares {
		n += shares[i].failed.Load()
	}
	return n
}
