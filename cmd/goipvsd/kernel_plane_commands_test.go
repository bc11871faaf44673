package main

import (
	"regexp"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/internal/lab"
	"github.com/goipvs/goipvs/sysctl"
	"github.com/google/nftables"
)

// TestKernelPlaneCommands: services that commands make run in the kernel of a
// stock machine, beside one of the file's; they are listed as full NAT, mended,
// drained, moved without a client that finds neither, and come back with goipvsd.
func TestKernelPlaneCommands(t *testing.T) {
	if lab.Kind() == "uml" {
		t.Skip("user-mode Linux has no NAT by nf_tables: TestKernelFullNATByCommand")
	}
	r := newPlanesRig(t, false)
	r.must(r.net.Director.Sysctl("net.ipv4.ip_forward", "0"))
	r.file(`max_removal = 1.0
[[virtual]]
name      = "filed"
address   = "192.0.2.10:81"
scheduler = "rr"
forward   = "fullnat"
unchecked = "up"
[virtual.fullnat]
plane = "kernel"
local = ["10.9.1.1"]
[[virtual.real]]
address   = "10.9.0.11:80"
`)
	r.start()
	const filed = `
		tcp 192.0.2.10:81 rr
		  10.9.0.11:80 nat 1`
	r.becomes(filed)
	const rules = `-A -t 192.0.2.10:80 -s rr --fullnat
-P -t 192.0.2.10:80 -z 10.9.1.1
-P -t 192.0.2.10:80 -z 10.9.1.2
-a -t 192.0.2.10:80 -r 10.9.0.11:80 -b -w 1
-a -t 192.0.2.10:80 -r 10.9.0.12:80 -b -w 1
`
	const filedRules = `-A -t 192.0.2.10:81 -s rr --fullnat --plane kernel
-P -t 192.0.2.10:81 -z 10.9.1.1
-a -t 192.0.2.10:81 -r 10.9.0.11:80 -b -w 1
`
	const udpRules = `-A -u 192.0.2.10:53 -s rr --fullnat --plane kernel
-P -u 192.0.2.10:53 -z 10.9.1.1
-P -u 192.0.2.10:53 -z 10.9.1.2
-a -u 192.0.2.10:53 -r 10.9.0.11:53 -b -w 1
-a -u 192.0.2.10:53 -r 10.9.0.12:53 -b -w 1
`
	const table = `tcp 192.0.2.10:80 rr
		  10.9.0.11:80 nat 1
		  10.9.0.12:80 nat 1` + filed + `
		udp 192.0.2.10:53 rr
		  10.9.0.11:53 nat 1
		  10.9.0.12:53 nat 1`
	r.oneShot(0, rules+udpRules, "-R")
	r.becomes(table)
	r.served()
	if out := r.oneShot(0, "", "-S -n"); out != rules+filedRules+udpRules {
		t.Errorf("-S prints\n%s", out)
	}
	list := r.oneShot(0, "", "-Ln")
	if strings.Count(list, " FullNat 1 ") != 5 || strings.Contains(list, "Masq") {
		t.Errorf("-Ln prints\n%s", list)
	}
	r.await("the kernel has counted them", func() bool { // its estimator does, every two seconds
		stats := r.oneShot(0, "", "-Ln --stats -t 192.0.2.10:80")
		return strings.Contains(strings.Join(strings.Fields(stats), " "), "TCP 192.0.2.10:80 4 ")
	})
	r.dial()
	out := r.oneShot(0, "", "-Lcn")
	if row := regexp.MustCompile(`(?m)^TCP \S+ +ESTABLISHED +\S+ +192\.0\.2\.10:80 +10\.9\.0\.1[12]:80 +10\.9\.1\.[12]:\d+$`); !row.MatchString(out) || !strings.Contains(out, "destination        local\n") {
		t.Errorf("-Lcn prints\n%s", out)
	}
	out = r.oneShot(0, "", "-G -t 192.0.2.10:80")
	if open := regexp.MustCompile(`(?m)^ +10\.9\.1\.[12] +0 +1 *$`); !open.MatchString(out) {
		t.Errorf("-G prints\n%s", out)
	}
	r.oneShot(0, "", "-Z -t 192.0.2.10:80")
	if status := r.ok("status"); !strings.Contains(status, "made by command") || !strings.Contains(status, "local addresses: 10.9.1.1 10.9.1.2") {
		t.Error(status)
	}

	// Others take both away.
	r.must(r.net.Director.Do(func() error {
		c, err := nftables.New()
		if err != nil {
			return err
		}
		c.FlushRuleset()
		return c.Flush()
	}))
	r.must(r.client.Flush())
	r.becomes(table)
	r.await("the rules are back", func() bool { return len(r.tables()) == 1 })
	r.served()

	// Drained, and back; killed, and back.
	r.ok("drain", "10.9.0.12:80")
	r.await("it takes nothing new", func() bool { return !strings.Contains(r.table(), "10.9.0.12:80 nat 1") })
	r.kill()
	r.start()
	r.ok("enable", "10.9.0.12:80")
	r.becomes(table)
	r.served()

	// To user space and back, while clients come.
	stop := r.hammer()
	r.oneShot(0, "", "-E -t 192.0.2.10:80 -s rr --plane userspace")
	r.becomes(strings.TrimPrefix(table, "tcp 192.0.2.10:80 rr\n\t\t  10.9.0.11:80 nat 1\n\t\t  10.9.0.12:80 nat 1\n"))
	r.served()
	inUser := r.dial()
	r.oneShot(0, "", "-E -t 192.0.2.10:80 -s rr")
	r.becomes(table)
	r.served()
	inUser.say()
	stop()
	live := r.dial()
	live.say()

	// The file takes one over where it runs.
	r.planes("kernel", "kernel", "")
	r.ok("reload")
	r.await("the file has them", func() bool { s := r.service("web"); return s.Plane == "kernel" && !s.ByCommand })
	live.say()
	r.served()
	r.oneShot(255, "", "-D -t 192.0.2.10:80")

	// And when nothing is left nothing stays behind.
	r.file("max_removal = 1.0\n")
	r.ok("reload", "--force")
	r.oneShot(0, "", "-A -t 192.0.2.10:80 -s rr")
	r.oneShot(0, "", "-D -t 192.0.2.10:80")
	r.becomes("")
	r.nothingLeft("at the end")
	if r.knob(sysctl.VS("conntrack")) != "0" {
		t.Error("the knob stays")
	}
}
