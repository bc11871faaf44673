package healthcheck

import (
	"fmt"
	"net/textproto"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/goipvs/goipvs/internal/testserver"
)

const article = "<1@goipvs.test>"

// news is INN: innd, which sends readers on to nnrpd, and nnrpd alone, with a
// good and with an expired certificate.
type news struct{ innd, nnrpd, secure, expired, expiredSecure uint16 }

func startINN(t *testing.T, certs certificates) news {
	n := news{testserver.Port(t), testserver.Port(t), testserver.Port(t), testserver.Port(t), testserver.Port(t)}
	dir := newsFolders(t)
	conf := func(name string, c testserver.Certificate) []string {
		testserver.Write(t, dir+"/"+name, strings.ReplaceAll(innConf, "DIR", dir)+
			fmt.Sprintf("tlscafile: %s\ntlscertfile: %s\ntlskeyfile: %s/%s.key\n", certs.authority.File, c.CertFile, dir, name))
		private(t, c.KeyFile, dir+"/"+name+".key")
		return []string{"INNCONF=" + dir + "/" + name}
	}
	good, expired := conf("inn.conf", certs.good), conf("expired.conf", certs.expired)
	testserver.Give(t, dir, "news")
	testserver.Run(t, testserver.Program{Path: "/usr/lib/news/bin/makedbz", Args: []string{"-i", "-o", "-s", "1000"}, Dir: dir + "/db", Env: good, User: "news"})
	start := func(port uint16, env []string, path string, args ...string) {
		p := testserver.Program{Path: "/usr/lib/news/bin/" + path, Args: append(args, fmt.Sprint(port)), Env: env, User: "news"}
		testserver.Start(t, p).AwaitPort(port)
	}
	start(n.innd, good, "innd", "-f", "-P")
	offer(t, n.innd)
	start(n.nnrpd, good, "nnrpd", "-D", "-f", "-p")
	start(n.secure, good, "nnrpd", "-D", "-f", "-S", "-p")
	start(n.expired, expired, "nnrpd", "-D", "-f", "-p")
	start(n.expiredSecure, expired, "nnrpd", "-D", "-f", "-S", "-p")
	return n
}

// private copies a key to where only its owner may read it, which some servers
// insist on.
func private(t *testing.T, from, to string) {
	t.Helper()
	key, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, key, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// innConf lifts the limit by which INN turns readers away from a busy machine.
const innConf = `mta: "/bin/false %s"
nnrpdloadlimit: 0
hismethod: hisv6
ovmethod: tradindexed
pathhost: news.goipvs.test
domain: goipvs.test
pathnews: /usr/lib/news
patharticles: DIR/spool/articles
pathoverview: DIR/spool/overview
pathincoming: DIR/spool/incoming
pathspool: DIR/spool
pathdb: DIR/db
pathetc: DIR/etc
pathlog: DIR/log
pathrun: DIR/run
pathtmp: DIR/tmp
pathfilter: DIR/etc
`

func newsFolders(t *testing.T) string {
	dir := testserver.Dir(t, map[string]string{
		"db/active":         "local.test 0000000000 0000000001 y\nlocal.known 0000000000 0000000001 y\ncontrol 0000000000 0000000001 n\ncontrol.cancel 0000000000 0000000001 n\njunk 0000000000 0000000001 n\n",
		"db/active.times":   "",
		"db/newsgroups":     "",
		"db/history":        "",
		"etc/newsfeeds":     "ME:!*::\n",
		"etc/incoming.conf": "peer test {\n hostname: 127.0.0.1\n}\n",
		"etc/storage.conf":  "method tradspool {\n class: 0\n newsgroups: *\n}\n",
		"etc/passwd":        "monitor:" + newsPassword + "\n",
		"log/.keep":         "", "run/.keep": "", "tmp/.keep": "",
		"spool/articles/.keep": "", "spool/overview/.keep": "", "spool/incoming/.keep": "",
	})
	testserver.Write(t, dir+"/etc/readers.conf", `
auth all {
  hosts: "*"
  auth: "ckpasswd -f `+dir+`/etc/passwd"
  default: "<anonymous>"
}
access open {
  users: "<anonymous>"
  newsgroups: "local.test"
  access: "R"
}
access known {
  users: "monitor"
  newsgroups: "local.*"
  access: "R"
}
`)
	return dir
}

// newsPassword is crypt(3)'s form of "watchword".
const newsPassword = "$6$goipvs$eDAJwNj1/NLcCo9IjMr34YB.plWobwG59VzOOL623RrzeREfRgg5TAAdam3bnhkGSnCL6LC75JM7sikesy9Nh0"

// offer feeds innd an article, as another server would.
func offer(t *testing.T, port uint16) {
	t.Helper()
	c, err := textproto.Dial("tcp", loopback(port).Real.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	say := func(code int, lines ...string) {
		for _, l := range lines {
			c.PrintfLine("%s", l)
		}
		if _, _, err := c.ReadCodeLine(code); err != nil {
			t.Fatal(err)
		}
	}
	say(200)
	say(335, "IHAVE "+article)
	say(235, "Path: test", "From: monitor@goipvs.test", "Newsgroups: local.test", "Subject: health",
		"Message-ID: "+article, "Date: "+time.Now().UTC().Format(time.RFC1123Z), "", "all is well", ".")
}

func TestNews(t *testing.T) {
	t.Parallel()
	testserver.Need(t, "inn2")
	certs := newCertificates(t)
	n := startINN(t, certs)

	plain := Check{Type: "nntp"}
	login := Check{Type: "nntp", Login: "monitor", Password: "watchword", Request: "local.known"}
	examine(t, certs.states(certs.trust(login, "starttls"), n.nnrpd, n.expired)...)
	examine(t, certs.states(certs.trust(with(plain, func(c *Check) { c.Request = "local.test" }), "on"), n.secure, n.expiredSecure)...)
	examine(t,
		row("up", plain, n.innd, ""),
		downState(t, plain),
		row("group", Check{Type: "nntp", Request: "local.test", Receive: "211 1 1 1 local.test"}, n.innd, ""),
		row("body", Check{Type: "nntp", Request: article, Receive: "(?m)^all is well"}, n.innd, ""),
		row("wrong answer", Check{Type: "nntp", Request: article, Receive: "all is lost"}, n.innd, `nntp: the answer does not match "all is lost": 200 news.goipvs.test`),
		row("no such group", Check{Type: "nntp", Request: "local.gone"}, n.nnrpd, "nntp group local.gone: 411 No such group"),
		row("no such article", Check{Type: "nntp", Request: "<2@goipvs.test>"}, n.nnrpd, "nntp body <2@goipvs.test>: 430 No such article"),
		row("login in clear", login, n.innd, ""),
		row("login needed", Check{Type: "nntp", Request: "local.known"}, n.nnrpd, "nntp group local.known: 480 "),
		row("wrong password", with(login, func(c *Check) { c.Password = "wrong" }), n.nnrpd, "nntp login monitor: 481 Authentication failed"),
	)
}
