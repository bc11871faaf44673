package ipvsadm

import (
	"errors"

	"github.com/goipvs/goipvs/ipvs"
)

// maxRaces is how often ensure looks again after somebody else was faster.
const maxRaces = 5

// ensure makes it so: it looks what is there, makes the change that is needed,
// if any, and prints that as a rule. Adding and editing are the same to it.
func (s *session) ensure(want ipvs.Change) error {
	var err error
	for range maxRaces {
		var made *ipvs.Change
		if made, err = s.ensureOnce(want); err == nil && made != nil {
			_, err = s.Stdout.Write(append(AppendChange(nil, *made), '\n'))
			return err
		}
		if !overtaken(want, err) {
			return err
		}
	}
	return err
}

// overtaken reports whether err comes of somebody else changing the table since
// we looked. A service that is missing for its real server is no race.
func overtaken(want ipvs.Change, err error) bool {
	service := want.Op == ipvs.AddService || want.Op == ipvs.UpdateService
	return errors.Is(err, ipvs.ErrExists) || errors.Is(err, ipvs.ErrNoDestination) ||
		service && errors.Is(err, ipvs.ErrNoService)
}

// ensureOnce makes one attempt; nil means that nothing was to be done.
func (s *session) ensureOnce(want ipvs.Change) (made *ipvs.Change, err error) {
	switch want.Op {
	case ipvs.DeleteService, ipvs.DeleteDestination, ipvs.DeleteLocal:
		err := s.kernel.Do(want)
		if errors.Is(err, ipvs.ErrNoService) || errors.Is(err, ipvs.ErrNoDestination) {
			return nil, nil
		}
		return &want, err
	case ipvs.AddLocal:
		err := s.kernel.Do(want)
		if errors.Is(err, ipvs.ErrExists) {
			return nil, nil
		}
		return &want, err
	}
	have, err := s.have(want)
	if err != nil {
		return nil, err
	}
	plan := ipvs.Plan(have, wanted(want, have))
	if len(plan) == 0 {
		return nil, nil
	}
	return &plan[0], s.kernel.Do(plan[0])
}

// have reads the part of the table that the change is about: the service
// without its real servers, or the one real server.
func (s *session) have(want ipvs.Change) (ipvs.Table, error) {
	service, err := s.kernel.Service(want.Service.ServiceKey)
	if want.Op == ipvs.AddService || want.Op == ipvs.UpdateService {
		if errors.Is(err, ipvs.ErrNoService) {
			return nil, nil
		}
		return ipvs.Table{{Service: service.Service}}, err
	}
	if want.Destination.Method == ipvs.FullNAT && errors.Is(err, ipvs.ErrNoService) {
		// The kernel may have it without real servers, which goipvsd sees to.
		return ipvs.Table{{Service: want.Service}}, nil
	}
	if err != nil {
		return nil, err
	}
	entry := ipvs.Entry{Service: service.Service}
	all, err := s.kernel.Destinations(service.ServiceKey, nil)
	for i := range all {
		if all[i].Addr == want.Destination.Addr {
			entry.Destinations = []ipvs.Destination{all[i].Destination}
		}
	}
	return ipvs.Table{entry}, err
}

// wanted is have as it shall be.
func wanted(want ipvs.Change, have ipvs.Table) ipvs.Table {
	if want.Op == ipvs.AddService || want.Op == ipvs.UpdateService {
		s := want.Service
		if len(have) > 0 && have[0].Service.FullNAT {
			s.FullNAT = true // what it is need not be said
		}
		return ipvs.Table{{Service: s}}
	}
	return ipvs.Table{{Service: have[0].Service, Destinations: []ipvs.Destination{want.Destination}}}
}
