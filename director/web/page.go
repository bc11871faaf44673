package web

import (
	_ "embed"
	"fmt"
	"html/template"
	"net/http"
	"sync"
	"time"

	"github.com/goipvs/goipvs/director/control"
)

//go:embed page.html
var pageText string

// page is read when it is first asked for: a start has better to do.
var page = sync.OnceValue(func() *template.Template { return template.Must(template.New("page").Funcs(functions).Parse(pageText)) })

var functions = template.FuncMap{
	"ago": func(now time.Time, t *time.Time) string {
		if t == nil {
			return "–"
		}
		return now.Sub(*t).Round(time.Second).String()
	},
	"weight": func(w *int32) string {
		if w == nil {
			return "–"
		}
		return fmt.Sprint(*w)
	},
	"last": func(now time.Time, s control.ServerStatus) string {
		for i := range s.Checks {
			if c := &s.Checks[i]; c.Last != nil {
				return fmt.Sprintf("%s ago, %.1f ms", now.Sub(*c.Last).Round(time.Second), c.Seconds*1000)
			}
		}
		return "–"
	},
}

func (m *Monitor) page(w http.ResponseWriter, _ *http.Request) {
	st, err := m.picture()
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_ = page().Execute(w, st)
}
