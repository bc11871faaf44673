package oracle

import "testing"

// TestKernelListMissing: -R ends at a listing of a service that is not there, and
// what comes behind it is not carried out.
func TestKernelListMissing(t *testing.T) {
	k, theirs := dial(t), newStage(t).real(t)
	for _, rules := range []string{
		"-A -t 10.0.0.1:80\n-L -n -t 10.0.0.2:80\n-A -t 10.0.0.3:80\n",
		"-A -t 10.0.0.1:80\n-L -n -t 10.0.0.1:80\n-A -t 10.0.0.3:80\n",
		"-A -t 10.0.0.1:80\n-L -n -f 7\n-D -t 10.0.0.1:80\n",
	} {
		type outcome struct {
			exit  int
			after string
		}
		try := func(run func() answer) outcome {
			k.restore(t, "-C\n")
			a := run()
			return outcome{a.Exit, k.run("/sbin/ipvsadm", "", "-S", "-n").Stdout}
		}
		want := try(func() answer { return theirs.run(t, rules, "-R") })
		if got := try(func() answer { return k.run("/sbin/ipvsadm", rules, "-R") }); got != want {
			t.Errorf("%q: %+v, ipvsadm: %+v", rules, got, want)
		}
	}
}
