package procfs

import (
	"fmt"
	"os"
	"strings"
)

const knobDir = "/proc/sys/net/ipv4/vs/"

// Knob is one sysctl of net.ipv4.vs, without that prefix.
type Knob struct{ Name, Value string }

// Knobs returns all knobs of the network namespace at a path ("" is the calling
// thread's), sorted by name. Which there are depends on the kernel; in other
// namespaces than the first some may be missing or read only. A knob that may
// not be read has an empty value.
func Knobs(netns string) (knobs []Knob, err error) {
	err = within(netns, func() error {
		entries, err := os.ReadDir(knobDir)
		for _, e := range entries {
			value, rerr := readKnob(e.Name())
			if rerr == nil || os.IsPermission(rerr) {
				knobs = append(knobs, Knob{e.Name(), value})
			}
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list net.ipv4.vs: %w", err)
	}
	return knobs, nil
}

// GetKnob returns a knob's value as the kernel writes it, without the newline:
// "1", or "3\t50". No such knob, or no IPVS at all, is fs.ErrNotExist.
func GetKnob(netns, name string) (value string, err error) {
	err = knobError("read", name, func() error {
		return within(netns, func() error {
			value, err = readKnob(name)
			return err
		})
	})
	return value, err
}

// SetKnob sets a knob; what a value may be is the kernel's to say, which
// answers EINVAL.
func SetKnob(netns, name, value string) error {
	return knobError("set", name, func() error {
		return within(netns, func() error { return writeKnob(name, value) })
	})
}

// knobError does what concerns a knob, if its name is one. Names come from
// configuration files, and a name with a slash in it would be another file.
func knobError(verb, name string, do func() error) error {
	const letters = "abcdefghijklmnopqrstuvwxyz0123456789_"
	if name == "" || strings.Trim(name, letters) != "" {
		return fmt.Errorf("%s net.ipv4.vs.%q: not a knob's name", verb, name)
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s net.ipv4.vs.%s: %w", verb, name, err)
	}
	return nil
}

func readKnob(name string) (string, error) {
	b, err := os.ReadFile(knobDir + name)
	return strings.TrimRight(string(b), "\n"), err
}

// writeKnob writes the value in one piece, as the kernel wants it.
func writeKnob(name, value string) error {
	f, err := os.OpenFile(knobDir+name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = f.WriteString(value + "\n")
	return err
}
