package boot

import (
	"bufio"
	"fmt"
	"io"
	"os"
)

// writeCPIO writes an archive that the kernel takes as its initial file
// system: names to the files they are filled from, all executable. The format
// is "newc", Documentation/driver-api/early-userspace/buffer-format.rst.
func writeCPIO(path string, files map[string]string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	ino := 0
	for name, from := range files {
		b, err := os.ReadFile(from)
		if err != nil {
			return err
		}
		ino++
		writeCPIOEntry(w, ino, 0o100755, name, b)
	}
	writeCPIOEntry(w, 0, 0, "TRAILER!!!", nil)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return f.Close()
}

// writeCPIOEntry writes one file. Errors show up at the end, in Flush.
func writeCPIOEntry(w io.Writer, ino, mode int, name string, data []byte) {
	// ino mode uid gid nlink mtime size devmajor devminor rdevmajor
	// rdevminor namesize check
	fmt.Fprintf(w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		ino, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	fmt.Fprintf(w, "%s\x00%s", name, padding(110+len(name)+1))
	_, _ = w.Write(data)
	_, _ = io.WriteString(w, padding(len(data)))
}

// padding fills up to a multiple of four bytes.
func padding(n int) string { return "\x00\x00\x00"[:(4-n%4)%4] }
