package director

import (
	"fmt"
	"strings"
)

// Brief is everything in one line, for systemctl status: how much is up, and what
// is wrong with the daemon itself for as long as it is.
func (d *Director) Brief() (text string, err error) {
	err = d.ask(func(s *state) { text = s.brief() })
	return text, err
}

func (s *state) brief() string {
	services, up, servers, in := 0, 0, 0, 0
	for _, v := range s.services {
		if v.Path || v.gone {
			continue
		}
		services++
		if v.stateName() == "up" {
			up++
		}
		servers += len(v.Servers)
		for i := range v.decision.Standings {
			if v.decision.Standings[i].Place == In {
				in++
			}
		}
	}
	words := []string{fmt.Sprintf("%d of %d services up, %d of %d real servers in", up, services, in, servers)}
	if s.reload.Error != "" {
		first, _, _ := strings.Cut(s.reload.Error, "\n")
		words = append(words, ReloadFailed.Brief+": "+Clean(first))
	}
	if _, on := s.hold.Active(); on {
		words = append(words, HoldBegan.Brief)
	}
	if s.lost != nil {
		words = append(words, KernelLost.Brief+": "+s.lost.Error())
	}
	return strings.Join(words, "; ")
}
