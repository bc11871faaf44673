package realserver

// OnStep has a test see each action before it is done.
func (h Host) OnStep(f func(Action)) Host {
	h.step = f
	return h
}
