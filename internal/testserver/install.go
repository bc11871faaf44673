package testserver

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// Packages are all that the tests of this repository need, for [Install].
var Packages = []string{
	"bind9", "dovecot-imapd", "dovecot-pop3d", "freeradius", "haproxy", "inn2", "iputils-ping", "kamailio", "kamailio-tls-modules",
	"mariadb-server-core", "nghttp2-server", "nginx-light", "openssl", "postfix", "postgresql", "redis-server", "slapd", "tinyproxy-bin",
	"vsftpd",
}

// Need fails the test unless the packages are installed. As root it installs
// what is missing.
func Need(t testing.TB, packages ...string) {
	t.Helper()
	for _, p := range packages {
		if !slices.Contains(Packages, p) {
			t.Fatalf("testserver: package %s is not in testserver.Packages", p)
		}
	}
	if err := Install(packages...); err != nil {
		t.Fatal(err)
	}
}

// Install installs the packages that are missing, without starting anything.
// Only one process at a time does so.
func Install(packages ...string) error {
	lacking := missing(packages)
	if len(lacking) == 0 {
		return nil
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("testserver: %s not installed: run `make test-servers` as root, once", strings.Join(lacking, ", "))
	}
	release, err := lock(filepath.Join(os.TempDir(), "goipvs-testserver.lock"))
	if err != nil {
		return err
	}
	defer release()
	if lacking = missing(packages); len(lacking) == 0 {
		return nil
	}
	return install(lacking)
}

func missing(packages []string) (lacking []string) {
	for _, p := range packages {
		out, err := exec.Command("dpkg-query", "-W", "-f=${db:Status-Status}", p).Output()
		if err != nil || string(out) != "installed" {
			lacking = append(lacking, p)
		}
	}
	return lacking
}

func install(packages []string) error {
	undo, err := forbidServices("/usr/sbin/policy-rc.d")
	if err != nil {
		return err
	}
	defer undo()
	args := append([]string{"install", "-y", "--no-install-recommends", "-o", "DPkg::Lock::Timeout=300"}, packages...)
	if err = apt(args...); err == nil {
		return nil
	}
	if err := apt("update"); err != nil {
		return err
	}
	return apt(args...)
}

func apt(args ...string) error {
	inn, err := innConf()
	if err != nil {
		return err
	}
	defer os.Remove(inn)
	cmd := exec.Command("apt-get", args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C", "INNCONF="+inn)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("testserver: apt-get %s: %w\n%s", strings.Join(args, " "), err, bytes.TrimSpace(out))
	}
	return nil
}

// innConf writes a configuration for the scripts of package inn2, which fail on
// a host whose name has no domain unless they are told one.
func innConf() (file string, err error) {
	f, err := os.CreateTemp("", "goipvs-inn-*.conf")
	if err != nil {
		return "", fmt.Errorf("testserver: %w", err)
	}
	_, err = f.WriteString(`mta: "/usr/sbin/sendmail -oi -oem %s"
pathnews: /usr/lib/news
pathdb: /var/lib/news
pathetc: /etc/news
pathlog: /var/log/news
pathrun: /run/news
pathspool: /var/spool/news
pathhost: news.goipvs.test
domain: goipvs.test
hismethod: hisv6
ovmethod: tradindexed
`)
	return f.Name(), errors.Join(err, f.Chmod(0o644), f.Close())
}

// noServices is the file that Debian's invoke-rc.d asks, when it is ours.
const noServices = "#!/bin/sh\n# goipvs installs the servers of its tests\nexit 101\n"

// forbidServices keeps the packages' scripts from starting their daemons. A file
// of somebody else's is kept; one of ours is left from a run that was killed, as
// there is only one at a time.
func forbidServices(file string) (undo func(), err error) {
	if was, err := os.ReadFile(file); err == nil && string(was) != noServices {
		return func() {}, nil
	}
	if err := os.WriteFile(file, []byte(noServices), 0o755); err != nil {
		return nil, fmt.Errorf("testserver: %w", err)
	}
	return func() { os.Remove(file) }, nil
}

// lock waits for a lock that the kernel drops when its holder dies.
func lock(file string) (release func(), err error) {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("testserver: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, fmt.Errorf("testserver: lock %s: %w", file, err)
	}
	return func() { f.Close() }, nil
}
