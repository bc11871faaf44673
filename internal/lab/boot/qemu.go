package boot

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
	"github.com/goipvs/goipvs/internal/lab/kmod"
)

// qemu is a distribution's own kernel in an emulated machine. It starts in an
// initial file system that has this program and little else, and continues on
// the host's root over 9p.
type qemu struct {
	program string
	data    []string // folders with firmware
	env     []string
	image   string // vmlinuz
	modules string // folder with modules.dep
}

// early are the modules it takes to reach the channels and the host's root.
var early = []string{"virtio_pci", "virtio_console", "9pnet_virtio", "9p"}

const shareTag = "root"

func findQEMU() (*qemu, error) {
	q := &qemu{}
	if err := q.findProgram(); err != nil {
		return nil, fmt.Errorf("no QEMU: install qemu-system-x86_64 (Debian: qemu-system-x86): %w", err)
	}
	if err := q.findKernel(); err != nil {
		return nil, fmt.Errorf("no kernel for QEMU: %w", err)
	}
	return q, nil
}

// findProgram takes QEMU from the machine, or unpacks it with the libraries
// that the machine lacks.
func (q *qemu) findProgram() (err error) {
	const name = "qemu-system-x86_64"
	if q.program, err = exec.LookPath(name); err == nil {
		return nil
	}
	root, err := cached("qemu", func(dir string) error { return unpackWithNeeds(dir, "qemu-system-x86") })
	if err != nil {
		return err
	}
	q.program = filepath.Join(root, "usr/bin", name)
	q.data = []string{filepath.Join(root, "usr/share/qemu"), filepath.Join(root, "usr/share/seabios")}
	q.env = []string{
		"LD_LIBRARY_PATH=" + libraries(root),
		"QEMU_MODULE_DIR=" + filepath.Join(root, "usr/lib/x86_64-linux-gnu/qemu"),
	}
	return nil
}

// findKernel unpacks the kernel. It is the stock kernel and not the smaller
// one for clouds, which has no 9p.
func (q *qemu) findKernel() error {
	root, err := cached("linux-image", func(dir string) error { return unpackKernel(dir, "linux-image-amd64") })
	if err != nil {
		return err
	}
	images, _ := filepath.Glob(filepath.Join(root, "boot/vmlinuz-*"))
	deps, _ := filepath.Glob(filepath.Join(root, "lib/modules/*/modules.dep"))
	if len(images) == 0 || len(deps) == 0 {
		return fmt.Errorf("%s has no kernel or no modules: remove it", root)
	}
	q.image, q.modules = images[len(images)-1], filepath.Dir(deps[len(deps)-1])
	return nil
}

func (q *qemu) machine(dir string, j *job.Job, o *Options) (*machine, error) {
	j.Modules, j.Share = q.modules, shareTag
	j.Out, j.Err, j.Ctl = "/dev/vport0p1", "/dev/vport0p2", "/dev/vport0p3"
	initrd := filepath.Join(dir, "initrd")
	if err := q.writeInitrd(initrd, dir, j); err != nil {
		return nil, err
	}
	m := &machine{env: q.env}
	cpus, accelerator := o.CPUs, []string{"-accel"}
	if o.Count { // what a program costs is then the same whatever else this machine does
		cpus, accelerator = 1, append(accelerator, "tcg", "-icount", "shift=1,sleep=off")
	} else {
		accelerator = append(accelerator, q.accelerator())
	}
	m.argv = []string{
		q.program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-cpu", "max",
		"-smp", strconv.Itoa(cpus), "-m", strconv.Itoa(o.Memory),
		"-kernel", q.image, "-initrd", initrd,
		// The NMI is for expire; then all processors say where they are.
		"-append", "console=ttyS0 panic=-1 unknown_nmi_panic panic_print=0x40 rdinit=/init " + job.Env + "=/job",
		"-chardev", "file,id=log,path=/dev/fd/1", "-serial", "chardev:log",
		"-device", "virtio-serial-pci", // the first virtio device, so that its ports are vport0pN
		"-fsdev", "local,id=root,path=/,security_model=none,multidevs=remap",
		"-device", "virtio-9p-pci,fsdev=root,mount_tag=" + shareTag,
	}
	m.argv = append(m.argv, accelerator...)
	for _, d := range q.data {
		m.argv = append(m.argv, "-L", d)
	}
	return m, m.connect()
}

// connect gives the machine the ports of its channels, and QEMU its monitor.
func (m *machine) connect() error {
	var ports [3]*os.File
	for i := range ports {
		ours, fd, err := m.socket()
		if err != nil {
			return err
		}
		ports[i] = ours
		m.argv = append(m.argv,
			"-chardev", fmt.Sprintf("socket,id=port%d,fd=%d", i, fd),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,nr=%d", i, i+1))
	}
	monitor, fd, err := m.socket()
	if err != nil {
		return err
	}
	m.argv = append(m.argv, "-chardev", fmt.Sprintf("socket,id=monitor,fd=%d", fd), "-mon", "monitor")
	m.wires = wires{out: ports[0], err: ports[1], ctl: ports[2], ctlIn: ports[2], in: ports[0], monitor: monitor}
	return nil
}

// accelerator is the processor's virtualization where we may use it and it works.
// Emulated processors take turns: with a thread for each, one goes on, for ever,
// with an instruction that another has replaced meanwhile, as the kernel does where
// it switches a hook on or off (QEMU 7.2: an endless int3 at a jump label).
func (q *qemu) accelerator() string {
	if unix.Access("/dev/kvm", unix.R_OK|unix.W_OK) == nil && q.starts("kvm") {
		return "kvm"
	}
	return "tcg,thread=single"
}

// starts reports whether the kernel begins to speak. Within a virtual machine
// /dev/kvm may be there and QEMU end or hang when it is used.
func (q *qemu) starts(accelerator string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, q.program, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
		"-machine", "q35", "-accel", accelerator, "-cpu", "max", "-m", "256", "-serial", "stdio",
		"-kernel", q.image, "-append", "console=ttyS0 earlyprintk=serial panic=-1")
	for _, d := range q.data {
		cmd.Args = append(cmd.Args, "-L", d)
	}
	cmd.Env = append(os.Environ(), q.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil || cmd.Start() != nil {
		return false
	}
	spoke := false
	for lines := bufio.NewScanner(out); !spoke && lines.Scan(); {
		spoke = strings.Contains(lines.Text(), "Linux version")
	}
	cancel()
	_ = cmd.Wait() // it was killed, or was of no use
	return spoke
}

// socket makes a socket pair and appends the machine's end to its
// descriptors. It returns our end and the number the machine's end has.
func (m *machine) socket() (ours *os.File, fd int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	if err := unix.SetNonblock(pair[0], true); err != nil { // for deadlines
		return nil, 0, err
	}
	m.files = append(m.files, os.NewFile(uintptr(pair[1]), "port"))
	return os.NewFile(uintptr(pair[0]), "port"), lifeline + len(m.files), nil
}

// writeInitrd writes the initial file system: this program, the job, and the
// modules it takes to leave it.
func (q *qemu) writeInitrd(file, dir string, j *job.Job) error {
	ix, err := kmod.ReadIndex(q.modules)
	if err != nil {
		return err
	}
	files := map[string]string{"init": j.Self}
	for _, name := range early {
		needed, err := ix.Resolve(name)
		if err != nil {
			return fmt.Errorf("kernel for QEMU: %w", err)
		}
		for _, f := range needed {
			name := strings.ReplaceAll(f, "/", "_")
			if files[name] == "" {
				files[name] = filepath.Join(q.modules, f)
				j.Early = append(j.Early, "/"+name)
			}
		}
	}
	files["job"] = filepath.Join(dir, "job")
	if err := j.Write(files["job"]); err != nil {
		return err
	}
	return writeCPIO(file, files)
}
