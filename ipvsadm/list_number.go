package ipvsadm

import "strconv"

// padTo appends blanks until b is width longer than start.
func padTo(b []byte, start, width int) []byte {
	for len(b)-start < width {
		b = append(b, ' ')
	}
	return b
}

// appendUintLeft is printf's %-WIDTHu.
func appendUintLeft(b []byte, v uint64, width int) []byte {
	start := len(b)
	return padTo(strconv.AppendUint(b, v, 10), start, width)
}

// appendIntLeft is printf's %-WIDTHd.
func appendIntLeft(b []byte, v int64, width int) []byte {
	start := len(b)
	return padTo(strconv.AppendInt(b, v, 10), start, width)
}

// appendUintRight is printf's %WIDTHu.
func appendUintRight(b []byte, v uint64, width int) []byte {
	var digits [20]byte
	d := strconv.AppendUint(digits[:0], v, 10)
	for n := len(d); n < width; n++ {
		b = append(b, ' ')
	}
	return append(b, d...)
}

// scales are the decimal units of counters too long for their column, each
// from its limit on.
var scales = [...]struct {
	from, unit uint64
	letter     byte
}{
	{1e14, 1e12, 'T'},
	{1e11, 1e9, 'G'},
	{1e9, 1e6, 'M'},
	{1e8, 1e3, 'K'},
}

// appendCounter appends a counter in its nine columns, scaled unless exact. An
// exact number too long for the column keeps a blank before it.
func appendCounter(b []byte, v uint64, exact bool) []byte {
	if exact {
		return appendUintRight(append(b, ' '), v, 8)
	}
	for _, s := range scales {
		if v >= s.from {
			return append(appendUintRight(b, v/s.unit, 8), s.letter)
		}
	}
	return appendUintRight(b, v, 9)
}
