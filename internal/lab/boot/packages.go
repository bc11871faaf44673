package boot

// Packages returns a folder of the cache, called name, in which Debian packages
// are unpacked: programs that tests and benchmarks compare with, such as the
// real ipvsadm. The lab's kernels see it under the same path.
func Packages(name string, packages ...string) (dir string, err error) {
	return cached(name, func(dir string) error { return unpack(dir, packages...) })
}
