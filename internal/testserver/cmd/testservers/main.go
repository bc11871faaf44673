// Testservers installs the packages with the servers that tests use.
package main

import (
	"fmt"
	"os"

	"github.com/goipvs/goipvs/internal/testserver"
)

func main() {
	if err := testserver.Install(testserver.Packages...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
