package healthcheck

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Confinement says as whom a program of the operator's runs and how much it may
// use. The zero value: as this process, without its capabilities.
type Confinement struct {
	// User is a name or number, with a group behind a colon if it is not the
	// user's own. Empty: this process's.
	User   string
	CPU    time.Duration // of each process, in whole seconds; 0: no limit
	Memory int64         // bytes of address space of each process; 0: no limit
	Files  int           // open at a time in each process; 0: no limit
}

// Start starts a program without the capabilities that this process passes on to
// its children (the ambient ones, by which a daemon that is not root has
// CAP_NET_ADMIN), and confined. Its end must be waited for by wait, not by the
// command's own Wait, see Orphan.
func (c Confinement) Start(cmd *exec.Cmd) (wait func() error, err error) {
	children.starting.Add(1)
	defer children.starting.Add(-1)
	if err := c.start(cmd); err != nil {
		return nil, err
	}
	return waiting(cmd), nil
}

func (c Confinement) start(cmd *exec.Cmd) error {
	id, err := c.identity()
	if err != nil {
		return err
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Credential = id.credential
	if id.home != "" && cmd.Env != nil {
		cmd.Env = append(cmd.Env, "HOME="+id.home) // the last one counts
	}
	cmd.SysProcAttr.Ptrace = c.limited()
	if id.credential != nil && id.credential.Uid != uint32(os.Getuid()) && !mayKill() {
		return fmt.Errorf("as %s: %w (that takes CAP_SETUID, CAP_SETGID and, to end what it runs, CAP_KILL)", c.User, unix.EPERM)
	}
	// Ambient capabilities belong to a thread, and so does a tracer.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	raise, err := dropAmbient()
	if err != nil {
		return err
	}
	defer raise()
	if err := cmd.Start(); err != nil {
		return c.hint(err)
	}
	if c.limited() {
		return c.limit(cmd)
	}
	return nil
}

// hint says what may be missing where a program must not be started so.
func (c Confinement) hint(err error) error {
	switch {
	case !errors.Is(err, unix.EPERM):
		return err
	case c.User != "":
		return fmt.Errorf("as %s: %w (that takes CAP_SETUID and CAP_SETGID)", c.User, err)
	case c.limited():
		return fmt.Errorf("with limits: %w (that takes the system calls ptrace and prlimit64)", err)
	}
	return err
}

func (c Confinement) limited() bool { return c.CPU != 0 || c.Memory != 0 || c.Files != 0 }

// limit sets the limits of a program that has been loaded and has not begun: it
// is traced and stops there. Set by the parent before the start they would be
// the parent's own, and afterwards the program could have been quicker.
func (c Confinement) limit(cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	err := awaitStop(pid)
	for _, l := range []struct{ what, limit, more uint64 }{
		{unix.RLIMIT_CPU, uint64((c.CPU + time.Second - 1) / time.Second), 1}, // killed a second after SIGXCPU
		{unix.RLIMIT_AS, uint64(c.Memory), 0},
		{unix.RLIMIT_NOFILE, uint64(c.Files), 0},
	} {
		if err == nil && l.limit != 0 {
			err = unix.Prlimit(pid, int(l.what), &unix.Rlimit{Cur: l.limit, Max: l.limit + l.more}, nil)
		}
	}
	if err == nil {
		err = unix.PtraceDetach(pid)
	}
	if err == nil {
		return nil
	}
	_ = unix.PtraceCont(pid, int(unix.SIGKILL)) // a tracer may always, whoever the program runs as
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if errors.Is(err, unix.EPERM) {
		return fmt.Errorf("set limits: %w (that takes the system call prlimit64, and of another user's program CAP_SYS_RESOURCE)", err)
	}
	return fmt.Errorf("set limits: %w", err)
}

// mayKill reports whether this process may end those of other users.
func mayKill() bool {
	h := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var caps [2]unix.CapUserData
	return unix.Capget(&h, &caps[0]) != nil || caps[0].Effective&(1<<unix.CAP_KILL) != 0
}

// awaitStop waits until a traced child has been loaded.
func awaitStop(pid int) error {
	for {
		var status unix.WaitStatus
		switch _, err := unix.Wait4(pid, &status, unix.WALL, nil); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return err
		case !status.Stopped():
			return errors.New("it ended before it began")
		default:
			return nil
		}
	}
}

// runAs is who a program runs as.
type runAs struct {
	credential *syscall.Credential // nil: as we are
	home       string              // empty: ours
}

func (c Confinement) identity() (id runAs, err error) {
	if c.User == "" {
		return id, nil
	}
	name, group, hasGroup := strings.Cut(c.User, ":")
	u, err := user.Lookup(name)
	if number, isNumber := number(name); isNumber {
		if u, err = user.LookupId(name); err != nil { // a number needs no name
			u, err = &user.User{Uid: strconv.FormatUint(uint64(number), 10), Gid: name, HomeDir: "/"}, nil
		}
	}
	if err != nil {
		return id, fmt.Errorf("user %s: %w", name, err)
	}
	uid, _ := number(u.Uid)
	gid, _ := number(u.Gid)
	groups := groupsOf(u)
	if hasGroup {
		if gid, err = groupID(group); err != nil {
			return id, err
		}
		groups = nil
	}
	id.home = u.HomeDir
	if int(uid) == os.Geteuid() && int(gid) == os.Getegid() {
		return id, nil
	}
	id.credential = &syscall.Credential{Uid: uid, Gid: gid, Groups: groups}
	return id, nil
}

// groupsOf are the groups that a user is in.
func groupsOf(u *user.User) (out []uint32) {
	list, err := u.GroupIds()
	if err != nil {
		return nil // a number without a name is in none
	}
	for _, g := range list {
		if n, ok := number(g); ok && !slices.Contains(out, n) {
			out = append(out, n)
		}
	}
	return out
}

func groupID(name string) (uint32, error) {
	if n, ok := number(name); ok {
		return n, nil
	}
	g, err := user.LookupGroup(name)
	if err != nil {
		return 0, fmt.Errorf("group %s: %w", name, err)
	}
	n, _ := number(g.Gid)
	return n, nil
}

func number(s string) (uint32, bool) {
	n, err := strconv.ParseUint(s, 10, 32)
	return uint32(n), err == nil && n != 1<<32-1 // which is no user to the kernel
}

// dropAmbient takes the thread's ambient capabilities until raise.
func dropAmbient() (raise func(), err error) {
	held := ambient()
	if len(held) > 0 {
		err = unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
	}
	return func() {
		for _, c := range held {
			unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0)
		}
	}, err
}

// ambient lists the thread's ambient capabilities.
func ambient() (held []int) {
	for c := range unix.CAP_LAST_CAP + 1 {
		if set, err := unix.PrctlRetInt(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_IS_SET, uintptr(c), 0, 0); err == nil && set == 1 {
			held = append(held, c)
		}
	}
	return held
}

// Trust refuses a program that others could replace, a user that does not exist,
// and with fs.ErrNotExist a program that does not.
func (c Confinement) Trust(path string) error {
	id, err := c.identity()
	if err != nil {
		return err
	}
	trusted := []int{0, os.Geteuid()}
	if id.credential != nil {
		trusted = append(trusted, int(id.credential.Uid))
	}
	return onlyOf(trusted, path)
}
