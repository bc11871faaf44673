package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goipvs/goipvs/config"
)

// effects name the tests that show that keys do what the reference says of them,
// not only that they are read: table, keys, folder and tests.
const effects = `
-                  control                                                  cmd/goipvsd         TestKernelSecondDaemon
-                  control_group                                            director/daemon     TestControlGroup TestFixedKeys
-                  state_dir                                                director/daemon     TestOverridesSurvive TestFixedKeys
-                  http                                                     cmd/goipvsd         TestKernelHTTP
-                  log_level log_format                                     director/daemon     TestLogKeys TestFixedKeys
-                  autoreload                                               director/daemon     TestAutoreload
-                  on_stop                                                  director/daemon     TestOnStopKeys
-                  on_stop                                                  director            TestStop
-                  reconcile on_drift                                       director/daemon     TestDriftKeys
-                  max_removal                                              director/daemon     TestBigRemoval
-                  hold_on_mass_failure                                     director            TestMassFailure TestHold TestHoldEnds
-                  upgrade_drain                                            fullnat             TestDrainDeadline
-                  without_ipvs                                             cmd/goipvsd         TestBareKernelWithoutIPVS
-                  maintenance_dir                                          director/daemon     TestMaintenanceFolder
-                  command_user                                             director            TestCommandUserKey
-                  command_user                                             director/daemon     TestCommandUser
-                  include                                                  config              TestInclude
-                  quiescent slow_start drain                               director            TestDecide TestSlowStart TestReloadDrains TestBuild
-                  unchecked                                                director/daemon     TestUncheckedKey
[check]            interval timeout rise fall fast_interval jitter          director            TestCheckKeys
[check]            interval timeout rise fall fast_interval jitter          healthcheck         TestRiseAndFall TestFastInterval TestFewBeginSoon TestScaleSpread TestEvil
[alert]            on command repeat                                        director/daemon     TestAlertsEndToEnd TestAlertKeys
[alert]            webhook mail_to mail_from smtp smtp_ca repeat            director/alert      TestWebhook TestMail TestMailCertificate TestRepeat
[alert]            smtp_login smtp_password_file smtp_cert smtp_key         director/alert      TestMailLogin
[timeouts]         tcp tcp_fin udp                                          cmd/goipvsd         TestKernelEveryKey
[sync]             state interface id maxlen group port ttl                 cmd/goipvsd         TestKernelEveryKey
[[virtual]]        name                                                     cmd/goipvsd         TestKernelMainPath
[[virtual]]        address fwmark family protocol scheduler scheduler_flags cmd/goipvsd         TestKernelEveryKey
[[virtual]]        persistent persistent_prefix persistence_engine          cmd/goipvsd         TestKernelEveryKey
[[virtual]]        one_packet forward                                       cmd/goipvsd         TestKernelEveryKey
[[virtual]]        vip_interface                                            cmd/goipvsd         TestKernelVIP
[[virtual]]        quorum                                                   director            TestDecide TestBuild
[[virtual]]        quorum_hysteresis                                        director            TestHysteresis
[[virtual]]        quorum_hysteresis notify_up notify_down                  cmd/goipvsd         TestKernelKeepalivedScripts
[[virtual]]        notify_up notify_down                                    director/daemon     TestNotifyKeys
[[virtual]]        fallback                                                 cmd/goipvsd         TestKernelMainPath TestKernelEveryKey
[[virtual]]        fallback_command                                         director/daemon     TestFallbackCommand
[[virtual]]        quiescent drain slow_start                               director            TestBuild
[[virtual]]        unchecked                                                director            TestDecide
[virtual.fullnat]  plane local proxy_protocol connect_timeout retries       director            TestFullNATKeys
[virtual.fullnat]  trusted_peers                                            cmd/goipvsd         TestTrustedPeers
[virtual.fullnat]  plane notrack                                            director            TestChoose
[virtual.fullnat]  max_connections cut_removed                              director            TestFullNATKeys
[virtual.fullnat]  max_connections cut_removed                              fullnat             TestMaxConns TestDrainAndRemoval
[virtual.fullnat]  local proxy_protocol connect_timeout retries             fullnat             TestLocalsNotInStep TestProxyHeadersByReceivers TestConnectTimeout TestRetry
[virtual.check]    type                                                     director            TestCheckTypes
[virtual.check]    interval timeout rise fall fast_interval jitter          director            TestCheckKeys
[virtual.check]    address port source                                      director            TestCheckKeys
[virtual.check]    via                                                      cmd/goipvsd         TestKernelCheckByThePath
[virtual.check]    request receive status method virtualhost follow         healthcheck         TestNginxHTTP TestHAProxy
[virtual.check]    tls server_name verify ca expiry_warning                 healthcheck         TestNginxTLS TestMailbox
[virtual.check]    cert key                                                 healthcheck         TestClientCertificate
[virtual.check]    login password database                                  healthcheck         TestMySQL TestPostgreSQL
[virtual.check]    password_file secret_file                                config              TestPasswordFile
[virtual.check]    password_file secret_file                                director            TestCheckKeys
[virtual.check]    secret require_message_authenticator                     healthcheck         TestRADIUS
[virtual.check]    require_message_authenticator                            director            TestCheckKeys
[virtual.check]    record                                                   healthcheck         TestDNS
[virtual.check]    protocol                                                 healthcheck         TestDNS TestSIP TestKernelSCTP
[virtual.check]    command                                                  healthcheck         TestExternal TestExternalHangs
[virtual.check]    arguments dynamic_weight                                 healthcheck         TestExternalBare TestExternalWeighs
[virtual.check]    arguments dynamic_weight                                 director            TestCheckKeys
[virtual.check]    user cpu_limit memory_limit file_limit                   healthcheck         TestExternalUser TestExternalUserTrusted TestExternalLimits
[virtual.check]    user cpu_limit memory_limit file_limit                   director            TestCheckKeys
[virtual.check]    dynamic_weight                                           director/daemon     TestDynamicWeight
[[virtual.real]]   notify_up notify_down                                    director/daemon     TestNotifyKeys
[[virtual.real]]   notify_up notify_down                                    cmd/goipvsd         TestKernelKeepalivedScripts
[[virtual.real]]   address weight forward upper lower tunnel                cmd/goipvsd         TestKernelEveryKey
[[virtual.real]]   check                                                    director            TestRealCheckKeys
tunnel             type port csum                                           cmd/goipvsd         TestKernelEveryKey
`

// TestEveryKeyHasAnEffect: each key of the reference has a test that shows what
// it does.
func TestEveryKeyHasAnEffect(t *testing.T) {
	proven := map[string]bool{}
	for line := range strings.Lines(strings.TrimSpace(effects)) {
		f := strings.Fields(line)
		at, table := 1, f[0]
		if table == "-" {
			table = ""
		}
		for ; !strings.HasPrefix(f[at], "Test") && !strings.HasPrefix(f[at+1], "Test"); at++ {
			proven[table+" "+f[at]] = true
		}
		text := testsIn(t, f[at])
		for _, name := range f[at+1:] {
			if !strings.Contains(text, "func "+name+"(") {
				t.Errorf("there is no test %s in %s", name, f[at])
			}
		}
	}
	for _, table := range config.Reference() {
		for _, k := range table.Keys {
			if id := table.Name + " " + k.Name; !proven[id] {
				t.Errorf("no test is named for the effect of %s", id)
			} else {
				delete(proven, id)
			}
		}
	}
	for id := range proven {
		t.Errorf("there is no key %s", id)
	}
}

// testsIn is the text of all tests of a package.
func testsIn(t *testing.T, dir string) string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(dir, err)
	}
	var all strings.Builder
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	return all.String()
}
