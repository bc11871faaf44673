package boot

import (
	"io"
	"sync/atomic"
)

// copied is output on its way from the machine to our own.
type copied struct {
	n       atomic.Int64 // bytes that have arrived
	writing atomic.Bool  // our reader lets us wait
	err     error        // of writing; for after the end
}

// copy copies until the machine closes the channel. An output that cannot be
// written is read all the same, so that the machine comes to its end; where
// nobody reads our stdout any more, SIGPIPE ends us. Each arrival is signalled.
func (c *copied) copy(to io.Writer, from io.Reader, arrived chan<- struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && c.err == nil {
			c.writing.Store(true)
			_, c.err = to.Write(buf[:n])
			c.writing.Store(false)
		}
		c.n.Add(int64(n))
		select {
		case arrived <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}
