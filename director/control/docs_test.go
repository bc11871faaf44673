package control

import (
	"os"
	"reflect"
	"strings"
	"testing"
)

// TestFieldsAreDocumented: whoever reads the JSON finds each field in
// docs/json.md.
func TestFieldsAreDocumented(t *testing.T) {
	text, err := os.ReadFile("../../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[reflect.Type]bool)
	var look func(reflect.Type)
	look = func(v reflect.Type) {
		switch v.Kind() {
		case reflect.Pointer, reflect.Slice:
			look(v.Elem())
			return
		case reflect.Struct:
		default:
			return
		}
		if seen[v] {
			return
		}
		seen[v] = true
		for f := range v.Fields() {
			look(f.Type)
			if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" && !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%v: docs/json.md does not have `%s`", v, name)
			}
		}
	}
	for _, v := range []any{Status{}, Explanation{}, Changed{}, Reloaded{}} {
		look(reflect.TypeOf(v))
	}
}
