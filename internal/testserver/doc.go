// Package testserver runs the real servers that checks are judged by: programs
// of Debian's packages, each in a folder of its own, on ports of loopback, in a
// process group that ends with the test.
//
//	testserver.Need(t, "nginx-light")
//	port := testserver.Port(t)
//	dir := testserver.Dir(t, map[string]string{"nginx.conf": "..."})
//	p := testserver.Start(t, testserver.Program{Path: "nginx", Args: []string{"-p", dir, "-c", "nginx.conf"}})
//	p.AwaitPort(port)
//
// Packages are installed when they are first needed, or all at once by
// `make test-servers`; no service of theirs is started.
package testserver
