package boot

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/goipvs/goipvs/internal/lab"
)

// Packages returns a folder of the cache, called name, in which Debian packages
// are unpacked: programs that tests and benchmarks compare with or work with.
// The lab's kernels see it under the same path. Inside a lab, where there is no
// network, what is not in the cache is an error.
func Packages(name string, packages ...string) (dir string, err error) {
	return fetched(name, func(dir string) error { return unpack(dir, packages...) })
}

// Ipvsadm returns a folder with Debian's ipvsadm, the libraries it needs and its
// scripts.
func Ipvsadm() (dir string, err error) {
	return Packages("ipvsadm", "ipvsadm", "libnl-3-200", "libnl-genl-3-200", "libpopt0")
}

const initFunctions = "lib/lsb/init-functions"

// InitFunctions returns a folder with the functions that Debian's init scripts
// are written in: lib/lsb/init-functions, in newer releases below usr.
func InitFunctions() (dir string, err error) {
	return fetched("lsb", func(dir string) error {
		if err := unpack(dir, "sysvinit-utils"); err != nil {
			return err
		}
		if exists(filepath.Join(dir, initFunctions)) || exists(filepath.Join(dir, "usr", initFunctions)) {
			return nil
		}
		return unpack(dir, "lsb-base") // older releases
	})
}

// Ansible returns a folder with Debian's ansible-core and what of its needs the
// machine lacks, Python included. It runs beside a lab rather than in one, where
// Python takes minutes, so that PreparePackages leaves it out.
func Ansible() (dir string, err error) {
	return fetched("ansible", func(dir string) error { return unpackWithNeeds(dir, "ansible-core") })
}

// Keepalived returns a folder with Debian's keepalived, its sample
// configurations and the libraries that the machine lacks.
func Keepalived() (dir string, err error) {
	return fetched("keepalived", func(dir string) error { return unpackWithNeeds(dir, "keepalived") })
}

// Ldirectord returns a folder with Debian's ldirectord, its sample configuration
// and what of Perl it needs and the machine lacks.
func Ldirectord() (dir string, err error) {
	return fetched("ldirectord", func(dir string) error { return unpackWithNeeds(dir, "ldirectord") })
}

// PreparePackages fetches the packages that tests in the lab want.
func PreparePackages() error {
	_, err1 := Ipvsadm()
	_, err2 := InitFunctions()
	_, err3 := Keepalived()
	_, err4 := Ldirectord()
	return errors.Join(err1, err2, err3, err4)
}

// fetched is cached for what is no kernel, which a program in a lab may ask for.
func fetched(name string, fill func(dir string) error) (string, error) {
	if lab.Kind() == "" {
		return cached(name, fill)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	dir := filepath.Join(cache, name)
	if !exists(dir) {
		return "", fmt.Errorf("%s is not there and a lab has no network: run lab -prepare outside first", dir)
	}
	return dir, nil
}
