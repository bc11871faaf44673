package store

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// written is a journal of three records, two of them appended.
func written(t *testing.T) *Journal {
	t.Helper()
	j := &Journal{Path: filepath.Join(t.TempDir(), "deep", "journal")}
	if err := j.Append("x"); err == nil {
		t.Fatal("appended to nothing")
	}
	if err := j.Rewrite([]string{"one"}); err != nil {
		t.Fatal(err)
	}
	if err := j.Append("two", "three, with blanks"); err != nil || j.Records() != 3 {
		t.Fatal(err, j.Records())
	}
	return j
}

var all = []string{"one", "two", "three, with blanks"}

func TestJournal(t *testing.T) {
	j := written(t)
	again := &Journal{Path: j.Path}
	if got, err := again.Load(); err != nil || !slices.Equal(got, all) || again.Records() != -1 {
		t.Errorf("%q, %v", got, err)
	}
	if err := again.Rewrite(all[1:]); err != nil {
		t.Fatal(err)
	}
	if got, err := (&Journal{Path: j.Path}).Load(); err != nil || !slices.Equal(got, all[1:]) {
		t.Errorf("%q, %v", got, err)
	}
	var none Journal
	if got, err := none.Load(); got != nil || err != nil || none.Append("x") != nil || none.Rewrite(all) != nil {
		t.Error("without a path there is a file")
	}
}

// TestJournalDamaged: whatever happened to the file, the records before it are
// there, and who reads is told unless what is missing was never acknowledged.
func TestJournalDamaged(t *testing.T) {
	text, err := os.ReadFile(written(t).Path)
	if err != nil {
		t.Fatal(err)
	}
	whole := string(text)
	lines := strings.SplitAfter(whole, "\n")
	for _, tt := range []struct {
		name, text string
		records    int
		ok         bool
	}{
		{"as it was", whole, 3, true},
		{"its last record torn", whole[:len(whole)-5], 2, true},
		{"its last newline missing", whole[:len(whole)-1], 2, true},
		{"a record torn in the middle", lines[0] + lines[1] + lines[2][:7] + "\n" + lines[3], 1, false},
		{"a letter changed", strings.Replace(whole, "two", "twO", 1), 1, false},
		{"a line in between", lines[0] + lines[1] + "\n" + lines[2], 1, false},
		{"its head changed", "#" + whole, 0, false},
		{"empty", "", 0, false},
		{"zeros", strings.Repeat("\x00", 4096), 0, false},
		{"zeros behind, as some file systems leave them", whole + strings.Repeat("\x00", 4096), 3, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			j := &Journal{Path: filepath.Join(t.TempDir(), "journal")}
			if err := os.WriteFile(j.Path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := j.Load()
			if !slices.Equal(got, all[:tt.records]) || (err == nil) != tt.ok || err != nil && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%q, %v", got, err)
			}
			if kept, _ := filepath.Glob(j.Path + ".corrupt-*"); (len(kept) == 1) == tt.ok {
				t.Errorf("set aside: %q", kept)
			}
			if err := j.Rewrite(got); err != nil {
				t.Error(err)
			}
			if again, err := j.Load(); err != nil || !slices.Equal(again, got) {
				t.Errorf("%q, %v", again, err)
			}
		})
	}
	j := &Journal{Path: t.TempDir()} // a folder
	if _, err := j.Load(); !errors.Is(err, ErrCorrupt) {
		t.Error(err)
	}
	if err := j.Rewrite(all); err != nil {
		t.Error(err)
	}
}

// FuzzJournal: what can be read is what would be written again.
func FuzzJournal(f *testing.F) {
	f.Add([]byte(journalHead + "\n" + string(journalLine("one")) + string(journalLine(""))))
	f.Add([]byte(journalHead + "\n00000000 torn"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := parseJournal(b)
		if err != nil {
			return
		}
		text := []byte(journalHead + "\n")
		for _, r := range records {
			text = append(text, journalLine(r)...)
		}
		if again, err := parseJournal(text); err != nil || !slices.Equal(again, records) {
			t.Errorf("%q, %v, want %q", again, err, records)
		}
	})
}
