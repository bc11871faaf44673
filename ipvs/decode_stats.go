package ipvs

import "github.com/goipvs/goipvs/ipvs/internal/wire"

// decodeStats reads the nested counters into s and tells whether s now holds
// the 64-bit ones, which win in whichever order the two come.
func decodeStats(it *wire.Attrs, s *Stats, type64 uint16, wide bool) bool {
	is64 := it.Type() == type64
	if wide && !is64 {
		return true
	}
	in := wire.NewAttrs(it.Bytes())
	for in.Next() {
		switch in.Type() {
		case statsConns:
			s.Conns = in.Uint()
		case statsInPkts:
			s.InPkts = in.Uint()
		case statsOutPkts:
			s.OutPkts = in.Uint()
		case statsInBytes:
			s.InBytes = in.Uint()
		case statsOutBytes:
			s.OutBytes = in.Uint()
		case statsCPS:
			s.CPS = in.Uint()
		case statsInPPS:
			s.InPPS = in.Uint()
		case statsOutPPS:
			s.OutPPS = in.Uint()
		case statsInBPS:
			s.InBPS = in.Uint()
		case statsOutBPS:
			s.OutBPS = in.Uint()
		}
	}
	if err := in.Err(); err != nil {
		it.Fail(err)
	}
	return wide || is64
}
