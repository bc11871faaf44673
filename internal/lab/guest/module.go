package guest

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/goipvs/goipvs/internal/lab/job"
	"github.com/goipvs/goipvs/internal/lab/kmod"
)

const (
	modprobe  = runDir + "/modprobe" // link to this program, see Modprobe
	moduleDir = runDir + "/modules"  // link to the folder with modules.dep
)

// setUpModules makes this program the kernel's modprobe and loads what the
// job asks for.
func setUpModules(j *job.Job) error {
	if !j.Autoload {
		return os.WriteFile("/proc/sys/kernel/modprobe", []byte("\n"), 0) // empty: no autoload
	}
	if err := errors.Join(os.Symlink(j.Self, modprobe), os.Symlink(j.Modules, moduleDir)); err != nil {
		return err
	}
	if err := os.WriteFile("/proc/sys/kernel/modprobe", []byte(modprobe), 0); err != nil {
		return err
	}
	for _, name := range j.Load {
		if err := load(name); err != nil {
			return err
		}
	}
	return nil
}

// Modprobe is what the kernel's request_module starts, as
// "/run/lab/modprobe -q -- NAME". It returns the exit status. The name is a
// module's or an alias such as net-pf-16-proto-16-family-IPVS; names that
// nothing answers to are everyday business (request_module asks for what may
// exist) and make no noise.
func Modprobe(args []string) int {
	if len(args) == 0 {
		return 2
	}
	err := load(args[len(args)-1])
	if err == nil {
		return 0
	}
	if !errors.Is(err, kmod.ErrNoModule) {
		fmt.Fprintln(os.Stderr, "modprobe:", err)
	}
	return 1
}

// load loads the module or alias with everything it depends on that is not there
// yet.
func load(name string) error {
	ix, err := kmod.ReadIndex(moduleDir)
	if err != nil {
		return err
	}
	files, err := ix.Resolve(name)
	if err != nil {
		return fmt.Errorf("load module %s: %w", name, err)
	}
	for _, f := range files {
		if live(f) {
			continue
		}
		if err := insert(filepath.Join(moduleDir, f)); err != nil {
			return fmt.Errorf("load module %s: %s: %w", name, f, err)
		}
	}
	return nil
}

// live reports whether the kernel has the module of a file in use, which it would
// find out itself only after it has read and unpacked all of it. So does kmod.
func live(file string) bool {
	b, err := os.ReadFile("/sys/module/" + kmod.ModuleName(file) + "/initstate")
	return err == nil && string(b) == "live\n"
}

// insert loads one file. A module that is already there is no error.
func insert(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	flags := 0
	if filepath.Ext(path) != ".ko" {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	err = unix.FinitModule(int(f.Fd()), "", flags)
	if errors.Is(err, unix.EEXIST) {
		return nil
	}
	return err
}
