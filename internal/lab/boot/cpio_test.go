package boot

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWriteCPIO(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	if err := os.WriteFile(from, []byte("hello"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := writeCPIO(to, map[string]string{"init": from}); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	const zero = "00000000"
	want := "070701" + "00000001" + "000081ed" + zero + zero + "00000001" + zero + "00000005" +
		zero + zero + zero + zero + "00000005" + zero + "init\x00\x00" + "hello\x00\x00\x00" +
		"070701" + zero + zero + zero + zero + "00000001" + zero + zero +
		zero + zero + zero + zero + "0000000b" + zero + "TRAILER!!!\x00\x00\x00\x00"
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWriteCPIOMissingFile(t *testing.T) {
	dir := t.TempDir()
	if err := writeCPIO(filepath.Join(dir, "to"), map[string]string{"init": filepath.Join(dir, "none")}); err == nil {
		t.Error("a missing file is no error")
	}
}
