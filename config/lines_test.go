package config

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/BurntSushi/toml"
)

// The lines of keys and elements, of every way to write them.
func TestLines(t *testing.T) {
	const text = `a = 1 # a comment with [ and "
b.c = "x#y"
"d e" = ['''
]''', """
\""" ] """, 'z'] # three
[t."u.v"]
x = {y = [1,
  2], z.w = 3}
[[l]]
k = 1
[[l.m]]
n = 2
[[l]]
[[l.m]]
[[l.m]]
n = 3
[l.m.o]
p = [{q = 1}, {q = 2}]
"\u0061b" = 4
`
	want := map[string]int{
		"a": 1, "b": 2, "b c": 2, "d_e": 3, "d_e 0": 3, "d_e 1": 4, "d_e 2": 5, "t": 6, "t u.v": 6, "t u.v x": 7, "t u.v x y": 7, "t u.v x y 0": 7,
		"t u.v x y 1": 8, "t u.v x z": 8, "t u.v x z w": 8, "l": 9, "l 0": 9, "l 0 k": 10, "l 0 m": 11, "l 0 m 0": 11, "l 0 m 0 n": 12, "l 1": 13, "l 1 m": 14,
		"l 1 m 0": 14, "l 1 m 1": 15, "l 1 m 1 n": 16, "l 1 m 1 o": 17, "l 1 m 1 o p": 18, "l 1 m 1 o p 0": 18, "l 1 m 1 o p 0 q": 18,
		"l 1 m 1 o p 1": 18, "l 1 m 1 o p 1 q": 18, "l 1 m 1 o ab": 19,
	}
	var raw map[string]any
	if _, err := toml.Decode(text, &raw); err != nil {
		t.Fatal(err)
	}
	got, p := lines(text)
	if p != nil {
		t.Fatal(p)
	}
	for path, line := range got {
		name := strings.ReplaceAll(strings.ReplaceAll(path, " ", "_"), "\x00", " ")
		if want[name] != line {
			t.Errorf("%s: line %d, want %d", name, line, want[name])
		}
		delete(want, name)
	}
	for name := range want {
		t.Errorf("%s is not found", name)
	}
}

// Nesting without end is refused before anything recurses.
func TestDeepNesting(t *testing.T) {
	for _, text := range []string{
		"a=" + strings.Repeat("[", 1<<20), "a=" + strings.Repeat("{b=", 1<<20), strings.Repeat("a.", 1<<20) + "a=1", "[" + strings.Repeat("a.", 1<<20) + "a]",
		"a=" + strings.Repeat("[{b=", 1<<20), "a=[\n" + strings.Repeat("[\n", 1<<20),
	} {
		if _, err := Parse("deep.toml", []byte(text), Options{}); err == nil {
			t.Errorf("%.20s... loads", text)
		}
	}
}

// FuzzLines: every key that the library finds has a line, and of no other text
// is anything more asked than an end.
func FuzzLines(f *testing.F) {
	for _, pattern := range []string{"testdata/*.toml", "../examples/config/*.toml"} {
		files, _ := filepath.Glob(pattern)
		for _, name := range files {
			b, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(b))
		}
	}
	f.Add("a=[[1],[{b=1,c=[2]}]]\n\"\\x61\".b='''\n''''\nd=1979-05-27 07:32:00\n[[e.f]]\n[[e.f]]\ng.h=\"\"\"\\\n \"\"\"\"\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		at, p := lines(text)
		if p != nil {
			return
		}
		raw := map[string]any{}
		if _, err := toml.Decode(text, &raw); err != nil {
			return
		}
		n := strings.Count(text, "\n") + 1
		eachKey(raw, func(path string) {
			if l := at[path]; l < 1 || l > n {
				t.Fatalf("%q: line %d of %d", path, l, n)
			}
		})
	})
}

func eachNode(path string, v any, f func(string)) {
	f(path)
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			eachNode(join(path, k), e, f)
		}
	case []map[string]any:
		for i, e := range v {
			eachNode(join(path, strconv.Itoa(i)), e, f)
		}
	case []any:
		for i, e := range v {
			eachNode(join(path, strconv.Itoa(i)), e, f)
		}
	}
}

func eachKey(raw map[string]any, f func(string)) {
	for k, v := range raw {
		eachNode(k, v, f)
	}
}
