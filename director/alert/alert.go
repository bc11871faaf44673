package alert

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// Event is what is told.
type Event struct {
	Time    time.Time `json:"time"`
	Host    string    `json:"host"`
	Alert   string    `json:"alert"` // the word of [alert] on: down, up, ...
	Event   string    `json:"event"` // the name in the log
	Text    string    `json:"text"`
	Virtual string    `json:"virtual,omitempty"` // name of the service
	Real    string    `json:"real,omitempty"`    // address of the real server
	Reason  string    `json:"reason,omitempty"`
	Repeat  int       `json:"repeat,omitempty"` // how often it was told before
	// Begins and Ends: what lasts from one event to another has a subject in
	// common. Both false: it happens at once.
	Begins, Ends bool `json:"-"`
	// Quiet events end what lasts and are not told.
	Quiet bool `json:"-"`
}

// subject is what an event that lasts is about.
type subject struct{ kind, virtual, real string }

// Config says who is told of what. The zero value tells nobody.
type Config struct {
	On       []string
	Command  []string
	User     string // whom Command runs as; empty: as this process
	Webhook  string
	MailTo   []string
	MailFrom string
	SMTP     string
	// CA is a file of the authorities that the mail server's certificate is checked
	// against; empty: the system's. With it loopback is no exception.
	CA string
	// Login and Password are said to the mail server, Cert and Key are the files of
	// the certificate that it is shown, all inside TLS only; empty: none.
	Login, Password string
	Cert, Key       string
	Repeat          time.Duration // 0: once
}

// Alerter tells. Make one with New; its Run tells until it is told to end, and its
// Repeat tells again.
type Alerter struct {
	log  *slog.Logger
	host string
	in   chan Event

	mu      sync.Mutex
	config  Config
	lasting map[subject]Event
	ways    []*way
}

// queueLength is how much may wait on each way.
const queueLength = 1024

// New returns an Alerter for a configuration.
func New(c Config, log *slog.Logger) *Alerter {
	host, err := os.Hostname()
	if err != nil {
		host = "localhost"
	}
	a := &Alerter{log: log, host: host, in: make(chan Event, queueLength), config: c, lasting: make(map[subject]Event)}
	a.ways = []*way{newWay("command", a, 1, sendCommand), newWay("webhook", a, 1, sendWebhook), newWay("mail", a, mailGroup, sendMail)}
	return a
}

// Set changes the configuration.
func (a *Alerter) Set(c Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.config = c
}

func (a *Alerter) get() Config {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.config
}

// Tell takes an event; it does not wait.
func (a *Alerter) Tell(e Event) {
	e.Host = a.host
	a.note(e)
	if e.Quiet || !a.wanted(e) {
		return
	}
	for _, w := range a.ways {
		w.put(e)
	}
}

func (a *Alerter) wanted(e Event) bool {
	return slices.Contains(a.get().On, e.Alert)
}

// note remembers what lasts.
func (a *Alerter) note(e Event) {
	a.mu.Lock()
	defer a.mu.Unlock()
	kind := e.Alert
	if kind == "up" {
		kind = "down"
	}
	s := subject{kind, e.Virtual, e.Real}
	switch {
	case e.Ends:
		delete(a.lasting, s)
	case e.Begins:
		a.lasting[s] = e
	}
}

// Forget drops what lasts of a server or, with an empty server, of a service:
// it is no longer in the file.
func (a *Alerter) Forget(virtual, real string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.lasting {
		if s.virtual == virtual && (real == "" || s.real == real) {
			delete(a.lasting, s)
		}
	}
}

// Run tells until ctx ends; then it gives what is queued a moment more.
func (a *Alerter) Run(ctx context.Context) {
	var all sync.WaitGroup
	for _, w := range a.ways {
		all.Go(func() { w.run(ctx) })
	}
	all.Wait()
}

// Repeat tells again what lasts and is due: to be called every second or so. It
// does not wait.
func (a *Alerter) Repeat(now time.Time) {
	var again []Event
	a.mu.Lock()
	every := a.config.Repeat
	for s, e := range a.lasting {
		if every > 0 && now.Sub(e.Time) >= every*time.Duration(e.Repeat+1) {
			e.Repeat++
			a.lasting[s] = e
			again = append(again, e)
		}
	}
	a.mu.Unlock()
	for _, e := range again {
		if a.wanted(e) {
			for _, w := range a.ways {
				w.put(e)
			}
		}
	}
}
