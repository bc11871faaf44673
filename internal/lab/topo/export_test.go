package topo

// CaptureSlots is how many packets a capture holds.
const CaptureSlots = ringSlots
