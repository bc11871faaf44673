# Everything goes through the go command; the lab fetches its own kernel. `make help` lists the targets.
GO        ?= go
TAGS      := urfave_cli_no_docs
VERSION   := $(shell git describe --always --dirty 2>/dev/null || echo unknown)
LDFLAGS   := -s -w -X main.version=$(VERSION)
PREFIX    ?= /usr/local
BIN       ?= bin
FUZZTIME  ?= 20s
LAB_PKGS  := $$($(GO) list -f '{{if .TestGoFiles}}{{.Dir}} {{.ImportPath}}{{else if .XTestGoFiles}}{{.Dir}} {{.ImportPath}}{{end}}' ./... | while read dir pkg; do grep -qs 'func TestKernel' $$dir/*_test.go && echo $$pkg; done)

export CGO_ENABLED ?= 0

.DEFAULT_GOAL := help
.PHONY: help build demo test test-servers test-unit test-kernel lab bench bench-checks fuzz lint install

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: $(BIN)/goipvs $(BIN)/goipvsd bin/lab ## build goipvs, goipvsd and the lab into bin/

.PHONY: $(BIN)/goipvs $(BIN)/goipvsd bin/lab
$(BIN)/goipvs: # in two programs: one-shot commands do not pay for the verbs
	$(GO) build -trimpath -tags $(TAGS),goipvs_split -ldflags '$(LDFLAGS)' -o $@ ./cmd/goipvs
	$(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@-verbs ./cmd/goipvs-verbs
$(BIN)/goipvsd:
	$(GO) build -trimpath -tags $(TAGS) -ldflags '$(LDFLAGS)' -o $@ ./cmd/goipvsd
bin/lab:
	$(GO) build -trimpath -o $@ ./internal/lab/cmd/lab

demo: build ## balance real connections through a real kernel's IPVS
	$(GO) build -trimpath -o bin/demo ./internal/demo
	bin/lab bin/demo -goipvs $(CURDIR)/bin/goipvs

.PHONY: demo-fullnat soak-fullnat bench-fullnat bench-snat
bench-fullnat: ## full NAT beside HAProxy and nginx, in one run; needs root
	$(GO) build -trimpath -o bin/bench-fullnat ./internal/bench/fullnat
	bin/bench-fullnat

bench-snat: bin/lab ## the kernel's plane beside HAProxy and nginx, in a stock kernel whose instructions are counted
	$(GO) build -trimpath -o bin/bench-fullnat ./internal/bench/fullnat
	LAB=qemu LAB_COUNT=1 LAB_MEMORY=2048 LAB_TIMEOUT=0 bin/lab bin/bench-fullnat -kernel -rounds 5 -length 300ms -loads short,bulk1,bulk16

demo-fullnat: ## full NAT in user space, on this machine, without root: three HTTP servers, one is killed
	$(GO) build -trimpath -o bin/demo-fullnat ./internal/demofullnat
	bin/demo-fullnat

soak-fullnat: ## random traffic and faults through full NAT for SOAK (30m), with the race detector
	CGO_ENABLED=1 $(GO) test -race -count=1 -timeout 24h -run 'TestSoak|TestBulk' -v ./fullnat -soak $(or $(SOAK),30m) -bulk 1024

.PHONY: soak-goipvsd
soak-goipvsd: bin/lab ## goipvsd in the lab's kernel under all that can happen to it, at random, for SOAK (30m) from SEED (1)
	LAB_TIMEOUT=0 $(GO) test -tags $(TAGS) -count=1 -timeout 24h -run '^TestKernelChaos$$' -v -exec '$(CURDIR)/bin/lab' ./cmd/goipvsd -chaos $(or $(SOAK),30m) -chaos-seed $(or $(SEED),1)

.PHONY: twin
twin: bin/lab ## full NAT beside the kernel: equal choices for TWIN (10m) of random histories
	LAB_TIMEOUT=0 $(GO) test -tags $(TAGS) -count=1 -timeout 24h -run '^TestKernelTwin$$' -v -exec '$(CURDIR)/bin/lab' ./fullnat -twin $(or $(TWIN),10m)

test: test-unit test-kernel ## everything: unit tests, and the kernel tests in the lab

test-servers: ## install the servers that checks are tested against (Debian's packages, needs root)
	$(GO) run ./internal/testserver/cmd/testservers

test-unit: test-servers ## the tests that need no kernel of their own
	test -z "$$(gofmt -l $$(git ls-files '*.go'))"
	$(GO) vet -tags $(TAGS) ./...
	CGO_ENABLED=1 $(GO) test -race -timeout 30m -tags $(TAGS) ./...
	$(GO) test -tags $(TAGS) -count=1 -run '^TestScale' ./healthcheck # too much for the race detector

test-kernel: build ## the TestKernel tests, inside the lab's kernel (LAB=uml|qemu|host)
	bin/lab -prepare
	$(GO) test -tags $(TAGS) -count=1 -p 2 -timeout 20m -run '^TestKernel' -exec '$(CURDIR)/bin/lab' $(LAB_PKGS)
	LAB=qemu LAB_TIMEOUT=8m $(GO) test -tags $(TAGS) -count=1 -p 2 -timeout 15m -run '^TestKernelPlane' -exec '$(CURDIR)/bin/lab' ./fullnat ./fullnat/snat ./fullnat/tproxy ./cmd/goipvsd
	LAB_MODULES=none $(GO) test -tags $(TAGS) -count=1 -run '^TestBareKernel' -exec '$(CURDIR)/bin/lab' ./ipvsadm/oracle ./doctor ./cmd/goipvsd

lab: build ## a shell in client-director-servers namespaces inside the lab's kernel
	$(GO) build -trimpath -o bin/labshell ./internal/lab/cmd/labshell
	bin/lab -tty bin/labshell -method $(or $(METHOD),nat) -goipvs bin/goipvs

bench: bench-ipvsadm bench-directors bench-checks bench-fullnat ## all that docs/performance.md has, beside ipvsadm, keepalived, HAProxy and nginx; needs root

.PHONY: bench-ipvsadm
bench-ipvsadm: build ## measure against ipvsadm in one run
	$(GO) build -trimpath -o bin/bench-ipvsadm ./internal/bench/ipvsadm
	bin/bench-ipvsadm

.PHONY: bench-directors
bench-directors: build ## goipvsd beside Debian's keepalived, in the lab's kernel and in one run; ROUNDS=3
	$(GO) build -trimpath -o bin/bench-directors ./internal/bench/directors
	bin/bench-directors -rounds $(or $(ROUNDS),3)

.PHONY: bench-ldirectord
bench-ldirectord: build ## the same for 20 real servers, with Debian's ldirectord, which starts programs for each: minutes
	$(GO) build -trimpath -o bin/bench-directors ./internal/bench/directors
	bin/bench-directors -only goipvsd,keepalived,ldirectord -servers 20 -rounds 1 -steady 30s -patience 5m

bench-checks: bin/goipvsd ## measure what 100, 1,000 and 10,000 checked servers cost
	$(GO) build -trimpath -o bin/bench-checks ./internal/bench/checks
	bin/bench-checks
	bin/bench-checks -black-holes 0.1
	bin/bench-checks -daemon bin/goipvsd

fuzz: ## run every fuzz target for FUZZTIME (20s)
	@for pkg in $$($(GO) list ./...); do \
	  for f in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; $(GO) test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; \
	  done; \
	done

lint: ## golangci-lint, at the version pinned in tools/go.mod
	$(GO) tool -modfile=tools/go.mod golangci-lint run

.PHONY: docs lint-docs
docs: ## write the manual page and the completions of shells
	$(GO) run ./internal/docgen

lint-docs: ## judge them by mandoc, bash, zsh and fish
	internal/docgen/lint.sh

install: $(BIN)/goipvs $(BIN)/goipvsd ## install goipvs, goipvsd, its ipvsadm names, units, manual pages and completions under PREFIX
	install -D -m 0755 $(BIN)/goipvs $(DESTDIR)$(PREFIX)/sbin/goipvs
	install -D -m 0755 $(BIN)/goipvs-verbs $(DESTDIR)$(PREFIX)/libexec/goipvs/goipvs-verbs
	install -D -m 0755 $(BIN)/goipvsd $(DESTDIR)$(PREFIX)/sbin/goipvsd
	install -d $(DESTDIR)$(PREFIX)/lib/systemd/system
	sed 's,/usr/sbin/,$(PREFIX)/sbin/,' contrib/systemd/goipvsd.service >$(DESTDIR)$(PREFIX)/lib/systemd/system/goipvsd.service
	install -D -m 0644 contrib/systemd/goipvsd-checks.conf $(DESTDIR)$(PREFIX)/share/doc/goipvs/goipvsd-checks.conf
	install -D -m 0644 contrib/systemd/goipvs.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/goipvs.conf
	install -D -m 0644 contrib/systemd/goipvs.tmpfiles $(DESTDIR)$(PREFIX)/lib/tmpfiles.d/goipvs.conf
	install -D -m 0644 docs/man/goipvs.8 $(DESTDIR)$(PREFIX)/share/man/man8/goipvs.8
	install -D -m 0644 docs/man/goipvsd.8 $(DESTDIR)$(PREFIX)/share/man/man8/goipvsd.8
	install -D -m 0644 docs/man/goipvs.toml.5 $(DESTDIR)$(PREFIX)/share/man/man5/goipvs.toml.5
	install -D -m 0644 examples/config/goipvs.toml $(DESTDIR)$(PREFIX)/share/doc/goipvs/goipvs.toml
	install -D -m 0644 contrib/prometheus/goipvs.rules.yml $(DESTDIR)$(PREFIX)/share/doc/goipvs/goipvs.rules.yml
	install -D -m 0644 contrib/grafana/goipvs.json $(DESTDIR)$(PREFIX)/share/doc/goipvs/goipvs.grafana.json
	install -D -m 0644 contrib/completions/goipvs.bash $(DESTDIR)$(PREFIX)/share/bash-completion/completions/goipvs
	install -D -m 0644 contrib/completions/_goipvs $(DESTDIR)$(PREFIX)/share/zsh/site-functions/_goipvs
	install -D -m 0644 contrib/completions/goipvs.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/goipvs.fish
	sed 's,/usr/local/,$(PREFIX)/,' 'contrib/systemd/goipvs-realserver@.service' >'$(DESTDIR)$(PREFIX)/lib/systemd/system/goipvs-realserver@.service'
	for name in ipvsadm ipvsadm-save ipvsadm-restore; do \
	  ln -sf goipvs $(DESTDIR)$(PREFIX)/sbin/$$name; \
	  ln -sf goipvs.8 $(DESTDIR)$(PREFIX)/share/man/man8/$$name.8; \
	  ln -sf goipvs $(DESTDIR)$(PREFIX)/share/bash-completion/completions/$$name; \
	  ln -sf goipvs.fish $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/$$name.fish; \
	done
