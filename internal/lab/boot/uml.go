package boot

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
)

// uml is user-mode Linux: a kernel that is a program. Its root is the host's.
type uml struct {
	kernel  string // the program
	modules string // folder with modules.dep
}

const umlPackage = "user-mode-linux"

// findUML takes the installed package, or one from the cache.
func findUML() (*uml, error) {
	if u, err := umlIn("/"); err == nil {
		return u, nil
	}
	root, err := cached(umlPackage, func(dir string) error { return unpack(dir, umlPackage) })
	if err != nil {
		return nil, fmt.Errorf("no user-mode Linux: install Debian's package %s or use LAB=qemu: %w", umlPackage, err)
	}
	return umlIn(root)
}

func umlIn(root string) (*uml, error) {
	u := &uml{kernel: filepath.Join(root, "usr/bin/linux.uml")}
	if _, err := os.Stat(u.kernel); err != nil {
		return nil, err
	}
	deps, err := filepath.Glob(filepath.Join(root, "usr/lib/uml/modules/*/modules.dep"))
	if err != nil || len(deps) == 0 {
		return nil, fmt.Errorf("%s has no modules", u.kernel)
	}
	u.modules = filepath.Dir(deps[len(deps)-1])
	return u, nil
}

func (u *uml) machine(dir string, j *job.Job, o *Options) (*machine, error) {
	m := &machine{}
	out, outFD, err1 := m.pipe(false)
	errs, errFD, err2 := m.pipe(false)
	ctl, ctlFD, err3 := m.pipe(false)
	ctlIn, ctlInFD, err4 := m.pipe(true)
	in, inFD, err5 := m.pipe(true)
	for _, err := range []error{err1, err2, err3, err4, err5} {
		if err != nil {
			return nil, err
		}
	}
	m.wires = wires{out: out, err: errs, ctl: ctl, ctlIn: ctlIn, in: in}

	j.Modules = u.modules
	j.Out, j.Err, j.Ctl = "/dev/ttyS1", "/dev/ttyS2", "/dev/ttyS3"
	file := filepath.Join(dir, "job")
	if err := j.Write(file); err != nil {
		return nil, err
	}
	m.argv = []string{
		u.kernel,
		"mem=" + strconv.Itoa(o.Memory) + "M",
		"uml_dir=" + dir, "umid=uml",
		"root=/dev/root", "rootfstype=hostfs", "rootflags=/", "rw",
		"pty.legacy_count=0",         // 512 devices that nobody uses take a second or more to make
		"con=null", "con0=null,fd:1", // kernel messages
		fmt.Sprintf("ssl1=fd:%d,fd:%d", inFD, outFD),
		fmt.Sprintf("ssl2=null,fd:%d", errFD),
		fmt.Sprintf("ssl3=fd:%d,fd:%d", ctlInFD, ctlFD),
		"init=" + quoted(j.Self),
		job.Env + "=" + quoted(file),
	}
	m.env = []string{"TMPDIR=" + memoryDir(o.Memory)}
	return m, nil
}

// quoted is a value for the kernel's command line.
func quoted(s string) string {
	if strings.ContainsAny(s, " \t") {
		return `"` + s + `"`
	}
	return s
}

// memoryDir is where UML puts the file that is its memory: in memory if there
// is room, and where pages may be executed.
func memoryDir(megabytes int) string {
	const shm = "/dev/shm"
	var st unix.Statfs_t
	if unix.Statfs(shm, &st) == nil && st.Flags&unix.ST_NOEXEC == 0 &&
		st.Bavail*uint64(st.Bsize) > uint64(megabytes)<<20 && unix.Access(shm, unix.W_OK) == nil {
		return shm
	}
	return os.TempDir()
}
