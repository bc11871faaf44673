package importer

// Keepalived converts a keepalived.conf.
func Keepalived(file string, src []byte, opt Options) Result { return Result{newBuilder(opt).cfg, nil} }
