package boot

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// unpackKernel unpacks the kernel that a package like linux-image-amd64 stands
// for, with the modules that a lab has use for.
func unpackKernel(dir, name string) error {
	a, err := newApt(dir)
	if err != nil {
		return err
	}
	defer a.close()
	show, err := a.ask("apt-cache", "show", "--no-all-versions", name)
	if err != nil {
		return err
	}
	image := submatches(imageDepends, show)
	if len(image) == 0 {
		return fmt.Errorf("package %s names no kernel", name)
	}
	if err := a.unpack(dir, image); err != nil {
		return err
	}
	if err := trimModules(dir); err != nil {
		return err
	}
	return indexModules(dir)
}

// trimModules removes drivers of devices that no lab has: most of a kernel.
func trimModules(dir string) error {
	drivers, err := filepath.Glob(filepath.Join(dir, "lib/modules/*/kernel/drivers/*"))
	if err != nil {
		return err
	}
	sound, _ := filepath.Glob(filepath.Join(dir, "lib/modules/*/kernel/sound"))
	keep := map[string]bool{"net": true, "virtio": true, "block": true, "char": true}
	for _, d := range append(drivers, sound...) {
		if !keep[filepath.Base(d)] {
			if err := os.RemoveAll(d); err != nil {
				return err
			}
		}
	}
	return nil
}

// indexModules makes modules.dep and its like, which a kernel package gets
// when it is installed.
func indexModules(dir string) error {
	versions, err := filepath.Glob(filepath.Join(dir, "lib/modules/*"))
	if err != nil || len(versions) != 1 {
		return fmt.Errorf("the kernel package has modules for %d kernels", len(versions))
	}
	cmd, err := depmod(dir)
	if err != nil {
		return err
	}
	cmd.Args = []string{"depmod", "-b", dir, filepath.Base(versions[0])}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("depmod: %w: %s", err, out)
	}
	return nil
}

// depmod is the machine's, or one unpacked for the purpose.
func depmod(dir string) (*exec.Cmd, error) {
	for _, name := range []string{"depmod", "/sbin/depmod", "/usr/sbin/depmod"} {
		if path, err := exec.LookPath(name); err == nil {
			return exec.Command(path), nil
		}
	}
	root := filepath.Join(dir, "depmod")
	if err := os.Mkdir(root, 0o755); err != nil {
		return nil, err
	}
	if err := unpackWithNeeds(root, "kmod"); err != nil {
		return nil, err
	}
	program := filepath.Join(root, "bin/kmod")
	if !exists(program) {
		program = filepath.Join(root, "usr/bin/kmod")
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+libraries(root))
	return cmd, nil
}

// libraries are the folders where unpacked packages have theirs.
func libraries(root string) string {
	const arch = "lib/x86_64-linux-gnu"
	return filepath.Join(root, "usr", arch) + ":" + filepath.Join(root, arch)
}
