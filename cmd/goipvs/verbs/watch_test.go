package verbs

import (
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestFrame: a picture is cut to the terminal, says how much it lacks, and leaves
// nothing of the one before.
func TestFrame(t *testing.T) {
	for _, c := range []struct {
		text          string
		rows, columns int
		want          string
	}{
		{"a\nb\n", 4, 80, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
		{"a\nb\nc\n", 4, 80, "\x1b[Ha\x1b[K\nb\x1b[K\nc\x1b[K\n\x1b[J"},
		{"a\nb\nc\nd\ne\n", 4, 80, "\x1b[Ha\x1b[K\nb\x1b[K\n... 3 lines more\x1b[K\n\x1b[J"},
		{"äbcdef\n", 4, 3, "\x1b[Häbc\x1b[K\n\x1b[J"},
		{"a\nb\n", 0, 0, "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J"},
	} {
		if got := frame(c.text, c.rows, c.columns); got != c.want {
			t.Errorf("%q on %d by %d: %q, want %q", c.text, c.rows, c.columns, got, c.want)
		}
	}
}

// TestWatch: a terminal gets pictures over each other, a file one after the other.
func TestWatch(t *testing.T) {
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	two := func(v *verbs) {
		n := 0
		v.watch(func(w io.Writer) error {
			if n++; n == 2 {
				v.out.err = io.ErrClosedPipe // nobody takes a third
			}
			_, err := io.WriteString(w, "picture\n")
			return err
		})
	}
	two(&verbs{out: &printed{w: file}})
	if b, err := os.ReadFile(file.Name()); err != nil || string(b) != "picture\n\npicture\n\n" {
		t.Errorf("a file got %q, %v", b, err)
	}
	for term, want := range map[string]string{"xterm": "\x1b[Hpicture\x1b[K", "dumb": "picture\r\n"} {
		t.Setenv("TERM", term)
		ours, theirs := openTerminal(t)
		watched := make(chan bool)
		go func() { two(&verbs{out: &printed{w: theirs}}); close(watched) }()
		buf := make([]byte, 256)
		n, err := ours.Read(buf)
		if got := string(buf[:n]); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("a terminal that is %s got %q, %v", term, got, err)
		}
		<-watched // it goes by TERM
	}
}

// openTerminal opens both ends of one.
func openTerminal(t *testing.T) (ours, theirs *os.File) {
	t.Helper()
	ours, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close() })
	fd := int(ours.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	peer, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY)
	if e != 0 {
		t.Fatal(e)
	}
	theirs = os.NewFile(peer, "terminal")
	t.Cleanup(func() { theirs.Close() })
	return ours, theirs
}
