package realserver

import "time"

// OnStep has a test see each action before it is done.
func (h Host) OnStep(f func(Action)) Host {
	h.step = f
	return h
}

// OnEvents has Watch look at events alone.
func (h Host) OnEvents() Host {
	h.relook = time.Hour
	return h
}
