package ipvsadm

// helpText is for people; PROG stands for the program's name.
const helpText = `Usage: PROG COMMAND [OPTION]...

Services: -t|--tcp-service, -u|--udp-service or --sctp-service HOST:PORT
          ([IPV6]:PORT), or -f|--fwmark-service MARK [-6|--ipv6]
  -A, --add-service     SERVICE   add a virtual service
  -E, --edit-service    SERVICE   replace its properties by those given
  -D, --delete-service  SERVICE   delete it and its real servers
    -s, --scheduler NAME          rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh (wlc)
    -p, --persistent [SECONDS]    keep clients with their server (360)
    -M, --netmask MASK            clients of one network together: mask or prefix length
    -o, --ops                     one-packet scheduling, for UDP
        --pe ENGINE               persistence engine: sip
    -b, --sched-flags FLAG,...    sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3

Real servers
  -a, --add-server      SERVICE -r HOST[:PORT]   add a real server
  -e, --edit-server     SERVICE -r HOST[:PORT]   replace its properties by those given
  -d, --delete-server   SERVICE -r HOST[:PORT]   delete it
    -g, --gatewaying              direct routing (this when none is given)
    -i, --ipip                    tunneling
    -m, --masquerading            NAT
    -w, --weight N                share of new connections, 0 for none (1)
    -x, --u-threshold N           at N connections no new ones ...
    -y, --l-threshold N           ... until there are fewer than this
        --tun-type ipip|gue|gre   with --tun-port PORT for gue, and
        --tun-nocsum, --tun-csum, --tun-remcsum

The table
  -L, --list [SERVICE]            list (also without any command)
    -n, --numeric                 no names
    -c, --connection              connections; --timeout timeouts; --daemon sync daemons
        --stats, --rate, --thresholds, --persistent-conn, --tun-info
        --exact                   numbers in full
        --nosort                  in the kernel's order
        --json                    one JSON document
  -S, --save [-n]                 print the rules that restore the table
  -R, --restore                   carry out rules from standard input: all or, on a typing error, none
  -C, --clear                     delete everything
  -Z, --zero [SERVICE]            zero the counters
      --set TCP TCPFIN UDP        timeouts in seconds, 0 leaves one as it is

Connection synchronization
      --start-daemon, --stop-daemon master|backup
        --mcast-interface IF (eth0), --syncid N, --sync-maxlen BYTES,
        --mcast-group ADDRESS, --mcast-port PORT, --mcast-ttl N

With -A -E -D -a -e -d: --ensure does what is needed to make it so, and prints that.
  -h, --help    -v, --version

Examples
  PROG -A -t 192.0.2.10:80 -s wlc
  PROG -a -t 192.0.2.10:80 -r 10.0.0.11:8080 -m -w 2
  PROG -Ln --stats
`
