package ipvsadm

import "io"

// spillAt bounds what a listing keeps in memory before it writes.
const spillAt = 32 << 10

// output collects text and writes it in large pieces.
type output struct {
	w io.Writer
	b []byte
}

// spill writes when enough has come together.
func (o *output) spill() error {
	if len(o.b) < spillAt {
		return nil
	}
	return o.flush()
}

func (o *output) flush() error {
	if len(o.b) == 0 {
		return nil
	}
	_, err := o.w.Write(o.b)
	o.b = o.b[:0]
	return err
}

// end writes the rest, even when the listing broke off: what was read is true.
func (o *output) end(err error) error {
	if ferr := o.flush(); err == nil {
		err = ferr
	}
	return err
}
