package job

import (
	"fmt"
	"strconv"
)

// Lines that the kernel's init sends.
const (
	Ready = "ready" // the program starts now
	Exit  = "exit"  // the program ended: an Ending follows
	Fault = "fault" // init cannot do its work: a quoted text follows
)

// Booted is the line among the kernel's messages that divides those of the boot
// from later ones. The two channels race, so Ready cannot.
const Booted = "lab init: the program starts"

// Lines that the host sends.
const (
	Signal = "signal" // pass a signal on to the program: its number follows
	Resize = "resize" // the terminal changed: a Window follows
	Halt   = "halt"   // everything has arrived: power off
)

// An Ending says how the program ended, and how many bytes it wrote, so that
// the host knows when it has them all.
type Ending struct {
	Status   int // exit status, 128 + signal
	Out, Err int64
}

// Line is the ending as a line of the control channel.
func (e Ending) Line() string {
	return fmt.Sprintf("%s %d %d %d\n", Exit, e.Status, e.Out, e.Err)
}

// ParseEnding reads what follows the word Exit.
func ParseEnding(s string) (e Ending, err error) {
	_, err = fmt.Sscanf(s, "%d %d %d", &e.Status, &e.Out, &e.Err)
	return e, err
}

// FaultLine is an error as a line of the control channel.
func FaultLine(err error) string {
	return Fault + " " + strconv.Quote(err.Error()) + "\n"
}

// ParseFault reads what follows the word Fault.
func ParseFault(s string) string {
	if t, err := strconv.Unquote(s); err == nil {
		return t
	}
	return s
}

// A Window is the size of a terminal. Zero means unknown.
type Window struct{ Rows, Cols uint16 }

// Line is the window as a line of the control channel.
func (w Window) Line() string {
	return fmt.Sprintf("%s %d %d\n", Resize, w.Rows, w.Cols)
}

// ParseWindow reads what follows the word Resize.
func ParseWindow(s string) (w Window, err error) {
	_, err = fmt.Sscanf(s, "%d %d", &w.Rows, &w.Cols)
	return w, err
}
