package procfs

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/goipvs/goipvs/ipvs"
)

// Stats reads /proc/net/ip_vs_stats: the totals of all services of a
// namespace, and their rates per second. The kernel adds them up every two
// seconds. Zeroing a service does not change them, zeroing everything does.
func Stats(r io.Reader) (ipvs.Stats, error) {
	rows, err := readTotals(r)
	if err != nil {
		return ipvs.Stats{}, err
	}
	return rows.total, nil
}

// CPUStats are the counters of one processor, up to date; it has no rates.
type CPUStats struct {
	CPU   int
	Stats ipvs.Stats
}

// PerCPUStats reads /proc/net/ip_vs_stats_percpu: what Stats reads, and the
// counters of every possible processor.
func PerCPUStats(r io.Reader) (total ipvs.Stats, cpus []CPUStats, err error) {
	rows, err := readTotals(r)
	return rows.total, rows.cpus, err
}

// totals is what either file holds: titles, rows of counters, one row of rates.
type totals struct {
	total ipvs.Stats
	cpus  []CPUStats
	// rates is set behind the title of the rates, counted and rated when the
	// rows were there.
	rates, counted, rated bool
}

// statsLimit bounds the file: a row is 60 bytes, a machine may have thousands of
// processors.
const statsLimit = 4 << 20

func readTotals(r io.Reader) (totals, error) {
	var t totals
	s := bufio.NewScanner(io.LimitReader(r, statsLimit))
	for line := 1; s.Scan(); line++ {
		if !t.row(s.Bytes()) {
			return totals{}, fmt.Errorf("%w: line %d: %.60q", ErrInput, line, s.Bytes())
		}
	}
	switch err := s.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return totals{}, fmt.Errorf("%w: line too long", ErrInput)
	case err != nil:
		return totals{}, err
	case !t.counted || !t.rated:
		return totals{}, fmt.Errorf("%w: no totals", ErrInput)
	}
	return t, nil
}

// row reads one line (ip_vs_stats_show, ip_vs_stats_percpu_show in
// ip_vs_ctl.c). All numbers, the processor's too, are hexadecimal.
func (t *totals) row(b []byte) (ok bool) {
	switch fields := bytes.Fields(b); {
	case len(fields) == 0:
		return true
	case isTitle(fields[0]):
		t.rates = t.rates || strings.HasPrefix(string(fields[0]), "Conns/s")
		return true
	case t.rates:
		f := fieldReader{row: b, ok: !t.rated}
		t.rated = true
		t.total.CPS, t.total.InPPS, t.total.OutPPS = f.hex(), f.hex(), f.hex()
		t.total.InBPS, t.total.OutBPS = f.hex(), f.hex()
		return f.end()
	case len(fields) == 5, fields[0][0] == '~':
		return t.counters(b, len(fields) > 5)
	}
	return t.processor(b)
}

// isTitle tells a word of a title from a number: "Conns", but not "C0".
func isTitle(word []byte) bool {
	switch string(word) {
	case "Total", "Conns", "CPU", "Conns/s":
		return true
	}
	return false
}

// counters reads the row of all processors together, which the per-CPU file
// marks with a tilde.
func (t *totals) counters(b []byte, marked bool) bool {
	f := fieldReader{row: b, ok: !t.counted}
	if marked {
		f.next()
	}
	t.counted = true
	f.counters(&t.total)
	return f.end()
}

func (t *totals) processor(b []byte) bool {
	f := fieldReader{row: b, ok: true}
	cpu := f.hex()
	c := CPUStats{CPU: int(cpu)}
	f.counters(&c.Stats)
	t.cpus = append(t.cpus, c)
	return f.end() && cpu <= 0xffff
}

func (f *fieldReader) counters(s *ipvs.Stats) {
	s.Conns, s.InPkts, s.OutPkts = f.hex(), f.hex(), f.hex()
	s.InBytes, s.OutBytes = f.hex(), f.hex()
}

// end reports whether the row was read well and has no more fields.
func (f *fieldReader) end() bool {
	_, more := f.optional()
	return f.ok && !more
}
