package procfs

import (
	"errors"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/ipvs"
	"github.com/google/go-cmp/cmp"
)

const statsText = `   Total Incoming Outgoing         Incoming         Outgoing
   Conns  Packets  Packets            Bytes            Bytes
       3 1000000000        F                C       1F0000000

 Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
       1        2        3                4      FFFFFFFFFFFFFFFF
`

const perCPUText = `       Total Incoming Outgoing         Incoming         Outgoing
CPU    Conns  Packets  Packets            Bytes            Bytes
  0        1        2        3                4                5
 1F        A        B        C                D                E
  ~        B        D        F               11               13

     Conns/s   Pkts/s   Pkts/s          Bytes/s          Bytes/s
           0        1        0                0                2
`

func TestStats(t *testing.T) {
	got, err := Stats(strings.NewReader(statsText))
	want := ipvs.Stats{Conns: 3, InPkts: 1 << 36, OutPkts: 15, InBytes: 12, OutBytes: 0x1F0000000,
		CPS: 1, InPPS: 2, OutPPS: 3, InBPS: 4, OutBPS: 1<<64 - 1}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("(-want +got):\n%s%v", diff, err)
	}
}

func TestPerCPUStats(t *testing.T) {
	total, cpus, err := PerCPUStats(strings.NewReader(perCPUText))
	if err != nil {
		t.Fatal(err)
	}
	want := ipvs.Stats{Conns: 11, InPkts: 13, OutPkts: 15, InBytes: 17, OutBytes: 19, InPPS: 1, OutBPS: 2}
	if diff := cmp.Diff(want, total); diff != "" {
		t.Errorf("total (-want +got):\n%s", diff)
	}
	wantCPUs := []CPUStats{
		{0, ipvs.Stats{Conns: 1, InPkts: 2, OutPkts: 3, InBytes: 4, OutBytes: 5}},
		{31, ipvs.Stats{Conns: 10, InPkts: 11, OutPkts: 12, InBytes: 13, OutBytes: 14}},
	}
	if diff := cmp.Diff(wantCPUs, cpus); diff != "" {
		t.Errorf("processors (-want +got):\n%s", diff)
	}
}

func TestStatsUnexpected(t *testing.T) {
	rates := "Conns/s\n 1 2 3 4 5\n"
	tests := map[string]string{
		"empty":           "",
		"no rates":        "Conns\n 1 2 3 4 5\n",
		"no totals":       rates,
		"decimal point":   " 1 2 3 4 5.5\n" + rates,
		"too few":         " 1 2 3 4\n" + rates,
		"65 bits":         " 1 2 3 4 10000000000000000\n" + rates,
		"totals twice":    " 1 2 3 4 5\n 1 2 3 4 5\n" + rates,
		"rates twice":     " 1 2 3 4 5\n" + rates + " 1 2 3 4 5\n",
		"too many rates":  " 1 2 3 4 5\nConns/s\n 1 2 3 4 5 6\n",
		"processor 65536": "10000 1 2 3 4 5\n ~ 1 2 3 4 5\n" + rates,
		"endless line":    strings.Repeat("1", 1<<20),
		"endless file":    strings.Repeat("  0        1        2        3                4                5\n", 1<<17),
	}
	for name, in := range tests {
		if got, err := Stats(strings.NewReader(in)); !errors.Is(err, ErrInput) {
			t.Errorf("%s: %+v, %v; want ErrInput", name, got, err)
		}
	}
}

func FuzzStats(f *testing.F) {
	f.Add(statsText)
	f.Add(perCPUText)
	f.Fuzz(func(t *testing.T, in string) {
		total, err := Stats(strings.NewReader(in))
		again, cpus, err2 := PerCPUStats(strings.NewReader(in))
		if (err == nil) != (err2 == nil) || total != again {
			t.Errorf("Stats %+v, %v; PerCPUStats %+v, %v", total, err, again, err2)
		}
		if err2 != nil && cpus != nil {
			t.Errorf("an error and %d processors", len(cpus))
		}
	})
}
