package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"

	"github.com/goipvs/goipvs/internal/bench"
)

func main() {
	inside := flag.String("inside", "", "run the inner half, with this folder shared with the outer one")
	goipvs := flag.String("goipvs", "bin/goipvs", "the goipvs to measure")
	lab := flag.String("lab", "bin/lab", "the lab to measure in")
	ipvsadm := flag.String("ipvsadm", "", "the folder in which the real ipvsadm is unpacked; empty fetches it")
	oneShot := flag.Bool("one-shot", false, "the inner half measures one-shot commands only")
	stock := flag.Bool("stock", true, "measure one-shot commands in a stock kernel (QEMU), too")
	rounds := flag.Int("rounds", 3, "rounds of the small comparisons")
	large := flag.Int("large", 10000, "services of the large table")
	doc := flag.String("write", "docs/performance.md", "the file whose figures to replace; empty prints them only")
	flag.Parse()
	var err error
	if *inside != "" {
		b := &inner{dir: *inside, goipvs: *goipvs, ipvsadm: filepath.Join(*ipvsadm, "sbin", "ipvsadm"), libs: libraries(*ipvsadm)}
		if *oneShot {
			err = b.oneShotMain(*rounds, 100)
		} else {
			err = b.run(*rounds, *large)
		}
	} else {
		o := options{*lab, *goipvs, *ipvsadm, *doc, *rounds, *large, *stock}
		err = bench.Run(func(dir string) error { return outerMain(o, dir) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench-ipvsadm:", err)
		os.Exit(1)
	}
}

func libraries(root string) string {
	return filepath.Join(root, "usr/lib/x86_64-linux-gnu") + ":" + filepath.Join(root, "lib/x86_64-linux-gnu")
}
