package fullnat

func (l *loop) sendHeader(c *conn) bool { return true }
