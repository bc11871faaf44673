package director

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/goipvs/goipvs/ipvs"
)

// The state file's form of Persistent: lists, in order, so that people can read
// it.
type persistentJSON struct {
	Overrides []overrideJSON `json:"overrides"`
	Owned     []ownedJSON    `json:"owned"`
	Leaving   []leaveJSON    `json:"leaving,omitempty"`
	Hold      *holdJSON      `json:"mass_failure,omitempty"`
	Files     []string       `json:"maintenance,omitempty"` // in maintenance_dir
	Sync      []syncJSON     `json:"sync,omitempty"`
}

// syncJSON is a sync daemon.
type syncJSON struct {
	State     ipvs.DaemonState `json:"state"`
	Interface string           `json:"interface"`
	SyncID    uint32           `json:"id"`
	MaxLen    uint16           `json:"maxlen,omitempty"`
	Group     netip.Addr       `json:"group,omitzero"`
	Port      uint16           `json:"port,omitempty"`
	TTL       uint8            `json:"ttl,omitempty"`
}

type ownedJSON struct {
	keyJSON
	Gone bool `json:"gone,omitempty"`
}

type leaveJSON struct {
	Service keyJSON `json:"service"`
	leaving
}

type holdJSON struct {
	Since   time.Time    `json:"since"`
	Servers []serverJSON `json:"servers"`
}

type serverJSON struct {
	Service keyJSON        `json:"service"`
	Server  netip.AddrPort `json:"server"`
}

type overrideJSON struct {
	Service keyJSON        `json:"service"`
	Server  netip.AddrPort `json:"server"`
	Override
}

// keyJSON is a service's key.
type keyJSON struct {
	Protocol ipvs.Protocol  `json:"protocol,omitempty"`
	Address  netip.AddrPort `json:"address,omitzero"`
	FWMark   uint32         `json:"fwmark,omitempty"`
	Family   ipvs.Family    `json:"family,omitempty"`
}

func keyToJSON(k ipvs.ServiceKey) keyJSON {
	return keyJSON{k.Protocol, k.Addr, k.FWMark, k.Family}
}

func (k keyJSON) key() (ipvs.ServiceKey, error) {
	out := ipvs.AddrService(k.Protocol, k.Address)
	if k.FWMark != 0 {
		out = ipvs.MarkService(k.FWMark, k.Family)
	}
	return out, out.Check()
}

// MarshalJSON writes lists in order.
func (p Persistent) MarshalJSON() ([]byte, error) {
	j := persistentJSON{Overrides: []overrideJSON{}, Owned: []ownedJSON{}}
	for id, o := range p.Overrides {
		j.Overrides = append(j.Overrides, overrideJSON{keyToJSON(id.Service), id.Addr, *o})
	}
	slices.SortFunc(j.Overrides, func(a, b overrideJSON) int {
		return strings.Compare(fmt.Sprint(a.Service, a.Server), fmt.Sprint(b.Service, b.Server))
	})
	keys := make([]ipvs.ServiceKey, 0, len(p.Owned))
	for k := range p.Owned {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, ipvs.ServiceKey.Compare)
	for _, k := range keys {
		j.Owned = append(j.Owned, ownedJSON{keyToJSON(k), p.Gone[k]})
	}
	for id, l := range p.Leaving {
		j.Leaving = append(j.Leaving, leaveJSON{keyToJSON(id.Service), leaving{id.Addr, l.Since, l.Until}})
	}
	slices.SortFunc(j.Leaving, func(a, b leaveJSON) int {
		return strings.Compare(fmt.Sprint(a.Service, a.Server), fmt.Sprint(b.Service, b.Server))
	})
	if !p.Hold.Since.IsZero() {
		j.Hold = &holdJSON{Since: p.Hold.Since}
		for _, id := range p.Hold.Servers {
			j.Hold.Servers = append(j.Hold.Servers, serverJSON{keyToJSON(id.Service), id.Addr})
		}
	}
	j.Files = slices.Sorted(maps.Keys(p.Files))
	for _, d := range p.Sync {
		j.Sync = append(j.Sync, syncJSON(d))
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote and holds it against the rules.
func (p *Persistent) UnmarshalJSON(b []byte) error {
	var j persistentJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	out := Persistent{Overrides: make(map[ServerID]*Override), Owned: make(map[ipvs.ServiceKey]bool), Gone: make(map[ipvs.ServiceKey]bool), Leaving: make(map[ServerID]Leave), Files: make(map[string]bool)}
	for i := range j.Overrides {
		o := &j.Overrides[i]
		key, err := o.Service.key()
		if err == nil {
			err = o.Check()
		}
		if err != nil {
			return fmt.Errorf("override %d: %w", i, err)
		}
		if !o.Server.IsValid() {
			return fmt.Errorf("override %d: no server", i)
		}
		out.Overrides[ServerID{key, o.Server}] = &o.Override
	}
	for i, k := range j.Owned {
		key, err := k.key()
		if err != nil {
			return fmt.Errorf("owned %d: %w", i, err)
		}
		out.Owned[key] = true
		if k.Gone {
			out.Gone[key] = true
		}
	}
	for _, name := range j.Files {
		out.Files[name] = true
	}
	for i, l := range j.Leaving {
		key, err := l.Service.key()
		if err != nil {
			return fmt.Errorf("leaving %d: %w", i, err)
		}
		if !l.Server.IsValid() {
			return fmt.Errorf("leaving %d: no server", i)
		}
		out.Leaving[ServerID{key, l.Server}] = Leave{l.Since, l.Until}
	}
	if j.Hold != nil {
		out.Hold.Since = j.Hold.Since
		for i, o := range j.Hold.Servers {
			key, err := o.Service.key()
			if err != nil {
				return fmt.Errorf("mass_failure %d: %w", i, err)
			}
			out.Hold.Servers = append(out.Hold.Servers, ServerID{key, o.Server})
		}
	}
	for _, d := range j.Sync {
		out.Sync = append(out.Sync, ipvs.Daemon(d))
	}
	*p = out
	return nil
}
