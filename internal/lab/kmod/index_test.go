package kmod

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const (
	testDep = `kernel/net/netfilter/ipvs/ip_vs.ko: kernel/net/netfilter/nf_conntrack.ko kernel/net/ipv4/nf_defrag_ipv4.ko
kernel/net/ipv4/nf_defrag_ipv4.ko:
kernel/net/netfilter/nf_conntrack.ko: kernel/net/ipv4/nf_defrag_ipv4.ko
kernel/net/sctp/sctp.ko.xz: kernel/lib/libcrc32c.ko.xz
kernel/lib/libcrc32c.ko.xz:
kernel/arch/x86/crypto/crc32c-intel.ko.xz:
`
	testAlias = `# Aliases extracted from modules themselves.
alias net-pf-16-proto-16-family-IPVS ip_vs
alias net-pf-2-proto-132* sctp
alias crypto-crc32c-intel crc32c_intel
alias gone nothing
`
	testSoft    = "# Soft dependencies\nsoftdep libcrc32c pre: crc32c\nsoftdep sctp post: other pre: crc32c-intel missing\n"
	testBuiltin = "kernel/net/ipv6/ipv6.ko\n"
)

func testIndex() *Index { return ParseIndex(testDep, testAlias, testSoft, testBuiltin) }

func TestResolve(t *testing.T) {
	ipvs := []string{
		"kernel/net/ipv4/nf_defrag_ipv4.ko", "kernel/net/netfilter/nf_conntrack.ko", "kernel/net/netfilter/ipvs/ip_vs.ko",
	}
	sctp := []string{
		"kernel/arch/x86/crypto/crc32c-intel.ko.xz", "kernel/lib/libcrc32c.ko.xz", "kernel/net/sctp/sctp.ko.xz",
	}
	tests := []struct {
		name string
		want []string
		err  error
	}{
		{"ip_vs", ipvs, nil},
		{"ip-vs", ipvs, nil},
		{"net-pf-16-proto-16-family-IPVS", ipvs, nil},
		{"net-pf-2-proto-132-type-1", sctp, nil},
		{"ipv6", nil, nil},
		{"ip_vs_twos", nil, ErrNoModule},
		{"gone", nil, ErrNoModule},
		{"", nil, ErrNoModule},
		{"net-pf-16-proto-16-family-*", nil, ErrNoModule},
	}
	ix := testIndex()
	for _, tt := range tests {
		got, err := ix.Resolve(tt.name)
		if diff := cmp.Diff(tt.want, got); diff != "" || !errors.Is(err, tt.err) {
			t.Errorf("Resolve(%q): %v %s", tt.name, err, diff)
		}
	}
}

func TestReadIndexNeedsDep(t *testing.T) {
	if _, err := ReadIndex(t.TempDir()); err == nil {
		t.Error("a folder without modules.dep is an index")
	}
}

// FuzzParseIndex: whatever the files hold, every module of modules.dep can be
// loaded, and its own file comes last.
func FuzzParseIndex(f *testing.F) {
	f.Add(testDep, testAlias, testSoft, testBuiltin, "ip_vs")
	f.Add(":", "alias [ x", "softdep a pre:", "", "[")
	f.Fuzz(func(t *testing.T, dep, alias, soft, builtin, name string) {
		ix := ParseIndex(dep, alias, soft, builtin)
		if files, err := ix.Resolve(name); err == nil && slices.ContainsFunc(files, func(s string) bool { return !strings.Contains(dep, s) }) {
			t.Errorf("%q: files %q from nowhere", name, files)
		}
		for module, d := range ix.deps {
			files, err := ix.Resolve(module)
			if err != nil || files[len(files)-1] != d[0] {
				t.Errorf("%q: %q, %v", module, files, err)
			}
		}
	})
}
