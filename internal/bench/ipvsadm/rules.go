package main

import (
	"bufio"
	"fmt"
	"os"
)

// table is a load: services of ten servers each, as `ipvsadm -S -n` prints it.
// Of every hundredth service the first server's weight is weight.
type table struct {
	services, weight int
}

const servers = 10

func (t table) write(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	for s := range t.services {
		vip := fmt.Sprintf("10.%d.%d.%d:80", s>>14, s>>7&127, s&127+1)
		fmt.Fprintf(w, "-A -t %s -s wrr\n", vip)
		for d := range servers {
			weight := 10
			if s%100 == 0 && d == 0 {
				weight = t.weight
			}
			fmt.Fprintf(w, "-a -t %s -r 172.16.%d.%d:%d -m -w %d\n", vip, s&127, d+1, 8000+s>>7, weight)
		}
	}
	return w.Flush()
}
