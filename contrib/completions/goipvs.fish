# fish completion for goipvs, and for it under the name of ipvsadm
# Made by go run ./internal/docgen (make docs): do not edit.

function __goipvs_start -d 'Nothing is typed yet'
    test (count (commandline -opc)) -eq 1
end

function __goipvs_verb -d 'The command line is that of one of these verbs'
    set -l words (commandline -opc)
    set -q words[2]
    and contains -- $words[2] $argv
end

function __goipvs_command -d 'The command line has one of these commands'
    for word in (commandline -opc)[2..]
        switch $word
            case '--add-service' '-A*'
                contains -- add-service $argv
                return
            case '--edit-service' '-E*'
                contains -- edit-service $argv
                return
            case '--delete-service' '-D*'
                contains -- delete-service $argv
                return
            case '--add-server' '-a*'
                contains -- add-server $argv
                return
            case '--edit-server' '-e*'
                contains -- edit-server $argv
                return
            case '--delete-server' '-d*'
                contains -- delete-server $argv
                return
            case '--add-laddr' '-P*'
                contains -- add-laddr $argv
                return
            case '--del-laddr' '-Q*'
                contains -- del-laddr $argv
                return
            case '--get-laddr' '-G*'
                contains -- get-laddr $argv
                return
            case '--list' '-L*' '-l*'
                contains -- list $argv
                return
            case '--save' '-S*'
                contains -- save $argv
                return
            case '--restore' '-R*'
                contains -- restore $argv
                return
            case '--clear' '-C*'
                contains -- clear $argv
                return
            case '--zero' '-Z*'
                contains -- zero $argv
                return
            case '--set'
                contains -- set $argv
                return
            case '--start-daemon'
                contains -- start-daemon $argv
                return
            case '--stop-daemon'
                contains -- stop-daemon $argv
                return
            case '--help' '-h*'
                contains -- help $argv
                return
            case '--version' '-v*'
                contains -- version $argv
                return
        end
    end
    return 1
end

complete -c goipvs -c ipvsadm -f
complete -c goipvs -c ipvsadm -n __goipvs_start -s A -l add-service -d 'add a service'
complete -c goipvs -c ipvsadm -n __goipvs_start -s E -l edit-service -d 'set the properties of a service anew'
complete -c goipvs -c ipvsadm -n __goipvs_start -s D -l delete-service -d 'delete a service and its real servers'
complete -c goipvs -c ipvsadm -n __goipvs_start -s a -l add-server -d 'add a real server'
complete -c goipvs -c ipvsadm -n __goipvs_start -s e -l edit-server -d 'set the properties of a real server anew'
complete -c goipvs -c ipvsadm -n __goipvs_start -s d -l delete-server -d 'delete a real server'
complete -c goipvs -c ipvsadm -n __goipvs_start -s P -l add-laddr -d 'add a local address to a service'
complete -c goipvs -c ipvsadm -n __goipvs_start -s Q -l del-laddr -d 'delete a local address of a service'
complete -c goipvs -c ipvsadm -n __goipvs_start -s G -l get-laddr -d 'list local addresses'
complete -c goipvs -c ipvsadm -n __goipvs_start -s L -l list -d 'list services; no command at all does too'
complete -c goipvs -c ipvsadm -n __goipvs_start -s S -l save -d 'print the rules that restore the table'
complete -c goipvs -c ipvsadm -n __goipvs_start -s R -l restore -d 'carry out rules from standard input'
complete -c goipvs -c ipvsadm -n __goipvs_start -s C -l clear -d 'delete all services'
complete -c goipvs -c ipvsadm -n __goipvs_start -s Z -l zero -d 'zero the counters'
complete -c goipvs -c ipvsadm -n __goipvs_start -l set -d 'timeouts in seconds; 0 leaves one as it is'
complete -c goipvs -c ipvsadm -n '__goipvs_start; or __goipvs_command start-daemon' -l start-daemon -x -a 'master backup' -d 'send connections, or receive them'
complete -c goipvs -c ipvsadm -n '__goipvs_start; or __goipvs_command stop-daemon' -l stop-daemon -x -a 'master backup' -d 'stop sending, or receiving'
complete -c goipvs -c ipvsadm -n __goipvs_start -s h -l help -d 'print this'
complete -c goipvs -c ipvsadm -n __goipvs_start -s v -l version -d 'print the version'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr get-laddr list zero' -s t -l tcp-service -x -d 'TCP'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr get-laddr list zero' -s u -l udp-service -x -d 'UDP'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr get-laddr list zero' -l sctp-service -x -d 'SCTP'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr get-laddr list zero' -s f -l fwmark-service -x -d 'packets with this firewall mark'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr get-laddr list zero' -s 6 -l ipv6 -d 'after -f: the service is IPv6'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s s -l scheduler -x -a 'rr wrr lc wlc sh mh dh sed nq lblc lblcr fo ovf' -d 'which real server a connection gets (wlc)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s p -l persistent -d 'keep clients with their server (360)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s M -l netmask -x -d 'keep clients of one network together'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -l pe -x -a 'sip' -d 'persistence engine: sip'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s o -l ops -d 'schedule each UDP datagram by itself'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s b -l sched-flags -x -a 'sh-fallback sh-port mh-fallback mh-port flag-1 flag-2 flag-3' -d 'fine points of sh and mh'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server delete-server' -s r -l real-server -x -d 'SERVER; the service'\''s port if not given'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s g -l gatewaying -d 'direct routing (this if none is given)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s i -l ipip -d 'tunnel, also to the other IP family'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s m -l masquerading -d 'NAT, also to another port'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server' -s b -l fullnat -d 'full NAT, by goipvsd'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s w -l weight -x -d 'share of new connections, 0 for none (1)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s x -l u-threshold -x -d 'at N connections no new ones (0: no limit)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -s y -l l-threshold -x -d 'and none until there are fewer than N'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -l tun-type -x -a 'ipip gue gre' -d 'what -i wraps packets in (ipip)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -l tun-port -x -d 'UDP port of gue'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -l tun-nocsum -d 'no checksums in gue and gre (this if none is given)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -l tun-csum -d 'checksums in gue and gre'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-server edit-server' -l tun-remcsum -d 'remote checksum offload in gue'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-laddr del-laddr' -s z -l laddr -x -d 'the local address, in numbers'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -l proxy-protocol -x -a 'v1 v2 v2-every disable' -d 'header that names the client (disable)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -l plane -x -a 'auto kernel userspace' -d 'where full NAT is done (auto)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service' -s j -l synproxy -x -a 'enable disable' -d 'does nothing: SYN cookies do it'
complete -c goipvs -c ipvsadm -n '__goipvs_command get-laddr list save' -s n -l numeric -d 'numbers, not names'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -s c -l connection -d 'the connections'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l stats -d 'counters of connections, packets and bytes'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l rate -d 'the same per second'
complete -c goipvs -c ipvsadm -n '__goipvs_command get-laddr list' -l json -d 'one JSON document, with any view'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l thresholds -d 'thresholds of the real servers'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l persistent-conn -d 'clients kept by persistence'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l tun-info -d 'tunnels of the real servers'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l timeout -d 'the timeouts of --set'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l daemon -d 'the synchronization daemons that run'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -s X -l exact -d 'counters in full, not in K, M, G, T'
complete -c goipvs -c ipvsadm -n '__goipvs_command list' -l nosort -d 'the kernel'\''s order, not sorted by address'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon' -l mcast-interface -x -a '(__fish_print_interfaces)' -d 'interface for the messages (eth0)'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon stop-daemon' -l syncid -x -d '0 to 255: a backup takes only messages of its own, with 0 all (0)'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon' -l sync-maxlen -x -d 'longest message (what the interface can carry)'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon' -l mcast-group -x -d 'multicast group (224.0.0.81)'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon' -l mcast-port -x -d 'UDP port (8848)'
complete -c goipvs -c ipvsadm -n '__goipvs_command start-daemon' -l mcast-ttl -x -d 'hops, 1 to 255 (1)'
complete -c goipvs -c ipvsadm -n '__goipvs_command add-service edit-service delete-service add-server edit-server delete-server add-laddr del-laddr' -l ensure -d 'with -A -E -D -a -e -d: make it so'
complete -c goipvs -n __goipvs_start -a apply -d 'make the table what a rules file says'
complete -c goipvs -n '__goipvs_verb apply' -F
complete -c goipvs -n '__goipvs_verb apply' -l prune -d 'remove also the services that FILE does not name'
complete -c goipvs -n '__goipvs_verb apply' -l detailed-exitcode -d 'exit status 0: nothing to change, 2: changes, 1: error'
complete -c goipvs -n '__goipvs_verb apply' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb apply' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a diff -d 'print the changes that apply would make'
complete -c goipvs -n '__goipvs_verb diff' -F
complete -c goipvs -n '__goipvs_verb diff' -l prune -d 'remove also the services that FILE does not name'
complete -c goipvs -n '__goipvs_verb diff' -l detailed-exitcode -d 'exit status 0: nothing to change, 2: changes, 1: error'
complete -c goipvs -n '__goipvs_verb diff' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb diff' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a realserver -d 'make this host a real server, undo it, prove it'
complete -c goipvs -n '__goipvs_verb realserver; and not __fish_seen_subcommand_from add del show check' -a 'add del show check'
complete -c goipvs -n '__goipvs_verb realserver' -l mode -x -a 'dr tun' -d 'packets come from the director by MODE: dr (default) or tun'
complete -c goipvs -n '__goipvs_verb realserver' -l dev -x -a '(__fish_print_interfaces)' -d 'the VIPs are on IF (lo, for tun the tunnel device)'
complete -c goipvs -n '__goipvs_verb realserver' -l tunnel -x -a 'ipip gre gue:' -d 'packets of tun come in a TUNNEL of ipip (default), gre or gue:PORT'
complete -c goipvs -n '__goipvs_verb realserver' -l outer -x -a '4 6' -d 'IP VERSION, 4 or 6, around the packets of tun (that of the VIP)'
complete -c goipvs -n '__goipvs_verb realserver' -l check -d 'say what add or del would do, change nothing'
complete -c goipvs -n '__goipvs_verb realserver' -l watch -d 'after add, stay and put right what others change'
complete -c goipvs -n '__goipvs_verb realserver' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb realserver' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a vip -d 'give this director a VIP, or take it away'
complete -c goipvs -n '__goipvs_verb vip; and not __fish_seen_subcommand_from add del' -a 'add del'
complete -c goipvs -n '__goipvs_verb vip' -l dev -x -a '(__fish_print_interfaces)' -d 'the VIPs are on IF'
complete -c goipvs -n '__goipvs_verb vip' -l force -d 'add it even if a neighbour has it: a fail-over'
complete -c goipvs -n '__goipvs_verb vip' -l check -d 'say what would be done, change nothing'
complete -c goipvs -n '__goipvs_verb vip' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb vip' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a tune -d 'show, explain and set the kernel knobs of a director'
complete -c goipvs -n '__goipvs_verb tune; and not __fish_seen_subcommand_from show set undo' -a 'show set undo'
complete -c goipvs -n '__goipvs_verb tune; and __fish_seen_subcommand_from show set undo' -a 'ip_forward net.ipv6.conf.all.forwarding conntrack expire_nodest_conn expire_quiescent_template conn_reuse_mode sloppy_tcp sloppy_sctp pmtu_disc snat_reroute schedule_icmp nat_icmp_send cache_bypass ignore_tunneled backup_only sync_threshold sync_refresh_period sync_retries sync_ports sync_persist_mode sync_qlen_max sync_sock_size sync_version drop_entry drop_packet secure_tcp amemthresh am_droprate run_estimation est_cpulist est_nice conn_lfactor svc_lfactor debug_level'
complete -c goipvs -n '__goipvs_verb tune' -l check -d 'say what set or undo would do, change nothing'
complete -c goipvs -n '__goipvs_verb tune' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb tune' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a status -d 'show services and real servers: their health, since when and why, weights, connections'
complete -c goipvs -n '__goipvs_verb status' -l problems -d 'only services that are not up, or not as they should be, and those with a real server that is down, cannot be checked, or has an operator'\''s word'
complete -c goipvs -n '__goipvs_verb status' -l watch -d 'again every second, until interrupted'
complete -c goipvs -n '__goipvs_verb status' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb status' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb status' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a explain -d 'tell what happened to a service or a real server, and why'
complete -c goipvs -n '__goipvs_verb explain' -l service -x -d 'only of this SERVICE: its name or its address'
complete -c goipvs -n '__goipvs_verb explain' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb explain' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb explain' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a drain -d 'give a real server no new connections and remove it when it is idle'
complete -c goipvs -n '__goipvs_verb drain' -l service -x -d 'only of this SERVICE: its name or its address'
complete -c goipvs -n '__goipvs_verb drain' -l reason -x -d 'TEXT that status shows until it is over'
complete -c goipvs -n '__goipvs_verb drain' -l timeout -x -d 'remove the server after this TIME even with connections'
complete -c goipvs -n '__goipvs_verb drain' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb drain' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb drain' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a maintain -d 'take a real server out as if its checks had failed'
complete -c goipvs -n '__goipvs_verb maintain' -l service -x -d 'only of this SERVICE: its name or its address'
complete -c goipvs -n '__goipvs_verb maintain' -l reason -x -d 'TEXT that status shows until it is over'
complete -c goipvs -n '__goipvs_verb maintain' -l for -x -d 'end by itself after this TIME, such as 2h or 14d'
complete -c goipvs -n '__goipvs_verb maintain' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb maintain' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb maintain' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a weight -d 'give a real server another weight'
complete -c goipvs -n '__goipvs_verb weight' -l service -x -d 'only of this SERVICE: its name or its address'
complete -c goipvs -n '__goipvs_verb weight' -l reason -x -d 'TEXT that status shows until it is over'
complete -c goipvs -n '__goipvs_verb weight' -l for -x -d 'end by itself after this TIME, such as 2h or 14d'
complete -c goipvs -n '__goipvs_verb weight' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb weight' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb weight' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a enable -d 'take back drain, maintain and weight'
complete -c goipvs -n '__goipvs_verb enable' -l service -x -d 'only of this SERVICE: its name or its address'
complete -c goipvs -n '__goipvs_verb enable' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb enable' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb enable' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a reload -d 'have goipvsd read its file anew and say what came of it'
complete -c goipvs -n '__goipvs_verb reload' -l force -d 'even when more services go than max_removal allows'
complete -c goipvs -n '__goipvs_verb reload' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb reload' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb reload' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a top -d 'show the busiest real servers, again every second'
complete -c goipvs -n '__goipvs_verb top' -l sort -x -a 'connections active bytes weight' -d 'by connections (new ones per second), active, bytes or weight: WORD'
complete -c goipvs -n '__goipvs_verb top' -l lines -x -d 'show so many: N'
complete -c goipvs -n '__goipvs_verb top' -l once -d 'print once and end'
complete -c goipvs -n '__goipvs_verb top' -l socket -r -F -d 'control socket of goipvsd, a FILE'
complete -c goipvs -n '__goipvs_verb top' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a doctor -d 'say what is wrong with this director or real server'
complete -c goipvs -n '__goipvs_verb doctor' -l service -x -d 'look at one SERVICE, and send probes to its real servers as IPVS would'
complete -c goipvs -n '__goipvs_verb doctor' -l method -x -a 'nat dr tun gre gue:' -d 'METHOD by which this real server gets its packets'
complete -c goipvs -n '__goipvs_verb doctor' -l director -x -d 'ADDRESS of the director of this real server'
complete -c goipvs -n '__goipvs_verb doctor' -l scheduler -x -a 'rr wrr lc wlc sh dh sed nq lblc lblcr fo ovf mh twos' -d 'NAME of a scheduler that is going to be used'
complete -c goipvs -n '__goipvs_verb doctor' -l strict -d 'exit status 1 for warnings too'
complete -c goipvs -n '__goipvs_verb doctor' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb doctor' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a import -d 'make a goipvs.toml of the configuration of ldirectord or keepalived'
complete -c goipvs -n '__goipvs_verb import; and not __fish_seen_subcommand_from ldirectord keepalived' -a 'ldirectord keepalived'
complete -c goipvs -n '__goipvs_verb import; and __fish_seen_subcommand_from ldirectord keepalived' -F
complete -c goipvs -n '__goipvs_verb import' -l config-id -x -d 'take the lines that keepalived takes with --config-id ID; without it, as keepalived does, those for this host'\''s name up to the first dot'
complete -c goipvs -n '__goipvs_verb import' -l json -d 'print one JSON document'
complete -c goipvs -n '__goipvs_verb import' -l help -d 'print this'
complete -c goipvs -n __goipvs_start -a help -d 'explain a topic or a verb'
complete -c goipvs -n '__goipvs_verb help' -a 'schedulers forwarding fullnat persistence restore apply diff realserver vip tune status explain drain maintain weight enable reload top doctor import help'
complete -c ipvsadm-save -f -s n -d 'numbers, not names'
complete -c ipvsadm-restore -f
