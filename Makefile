# greseal: one static binary. Needs Go 1.26 and nothing else; `make test` sets
# up the rest by itself.
#
#   make            ./greseal for this machine
#   make install    the binary, systemd's unit, man pages and bash completion, for Debian and
#                   the like (root); DESTDIR=FOLDER puts them below another root
#   make uninstall  takes them away again; /etc/greseal stays
#   make demo       build it and watch a tunnel come up (root)
#   make quick      what every change has to pass, in a minute: gofmt, vet, staticcheck,
#                   unreachable code, and the tests that need neither root nor long
#   make test       all of it, one table at the end (root, Debian or Ubuntu; half an hour): the
#                   sources' form, every Go test, every scenario in userspace, what the kernel
#                   datapath does on 6.1, and on 6.12 one of each kind; MIPS, fuzzing, sizes
#   make unit       the Go tests alone
#   make lab        the scenarios in namespaces alone (root); LAB="words" chooses
#   make owner      before a release: what make test leaves out, which is what IKE and the daemon
#                   decide on the kernel datapath and the rest of 6.12; and what a router's owner
#                   lives through: leaks, link state, doctor, edits (root)
#   make kill       kill the daemon 200 times on each datapath, and look for leaks (root)
#   make bench      the userspace datapath against wireguard-go and strongSwan (root);
#                   BENCH="-markdown", BENCH="-tunnels 500" and other flags, build/bench/run -help
#   make bench-ike  handshakes a second and memory of a tunnel, beside strongSwan (root);
#                   BENCH="-only greseal" and other flags, build/bench/ike;
#                   BENCH="-flood all" for what strangers cost it
#   make integrity  1 GB through every kind of wire, with rekeys, loss and reordering (root)
#   make interop    what other IKE daemons say to greseal, one table (root; 20 minutes)
#   make ui-test    the LuCI pages in a browser (root, node, npm, chromium)
#   make sim        a million seeds of the IKEv2 simulation (an hour or so)
#   make cover-ike  how much of ikev2 its scenarios and simulations reach: 90 % or more
#   make cover-tunnel  how much of tunnel its tests reach without privileges: 80 % or more
#   make all        binaries for every target into out/
#   make figures    the shape of the code in numbers; ROOT=FOLDER measures another checkout
#   make size       their sizes, stripped and packed with xz
#   make packages   OpenWrt's packages for every architecture into out/packages/
#   make generate   everything that is generated and committed

# Everything that goes into a binary comes from the commit, so that the same
# commit gives the same bytes: the version is git's, or without a tag the one
# that the CHANGELOG begins with.
VERSION ?= $(shell git describe --tags --dirty 2>/dev/null || echo 0.1.0)


# The commit's time: a router whose clock was never set takes it as the least.
BUILT ?= $(or $(SOURCE_DATE_EPOCH),$(shell git log -1 --format=%ct 2>/dev/null))
LDFLAGS = -s -w -buildid= -X main.version=$(VERSION) -X main.built=$(BUILT)
BUILDFLAGS = -trimpath -buildvcs=false

# The smallest routers' flash counts more than a few percent of speed: without
# inlining the binary is a tenth smaller (a sixth when packed). What touches
# every packet keeps it, and of key exchange what gains by it. Segments begin at
# 16 kB, which is at least a page of every MIPS kernel that is met. See build/SIZE.md.
SMALL = -gcflags='all=-l -d=variablemakethreshold=0' $(foreach p,$(INLINED),-gcflags='$(p)=')
INLINED = $(addprefix crypto/internal/fips140,/aes /aes/gcm /sha256 /sha512 /hmac /subtle /alias deps/byteorder) crypto/internal/fips140 \
	crypto/cipher crypto/subtle crypto/hmac crypto/sha1 golang.org/x/crypto/... \
	greseal/crypto/esp greseal/crypto/seal greseal/platform/userspace greseal/platform/userspace/vnet greseal/platform/gre \
	$(addprefix crypto/internal/fips140/,sha3 mlkem edwards25519/field) crypto/ecdh

# OpenWrt's architectures. GOARCH[-variant]: the variant is GOMIPS or GOARM.
TARGETS = mips-softfloat mipsle-softfloat arm-5 arm-6 arm-7 arm64 amd64 386 riscv64 loong64

# These two are for OpenWrt's packages alone.
MORE = mips64-softfloat 386-softfloat

.PHONY: install uninstall sim bench bench-ike interop integrity greseal all size packages demo test unit lab ui-test kill generate clean $(TARGETS) $(MORE) cover-ike cover-tunnel

greseal:
	@CGO_ENABLED=0 go build $(BUILDFLAGS) -ldflags '$(LDFLAGS)' -o $@ .

all: $(TARGETS)

$(TARGETS) $(MORE):
	@echo "  $@"
	@CGO_ENABLED=0 GOOS=linux GOARCH=$(firstword $(subst -, ,$@)) GOMIPS=softfloat GOMIPS64=softfloat GO386=$(if $(findstring 386-soft,$@),softfloat,sse2) GOARM=$(or $(word 2,$(subst -, ,$@)),7) \
		go build $(BUILDFLAGS) $(if $(findstring mips,$@),$(SMALL)) -ldflags '$(LDFLAGS) $(if $(findstring mips,$@),-R=0x4000)' -o out/greseal-linux-$@ .

size: all
	@build/size

# The keys that sign the feeds are made on first use and kept outside.
KEYS ?= $(HOME)/.config/greseal-packages

packages: $(TARGETS) $(MORE)
	@go run ./build/openwrt/mkpkg build -keys '$(KEYS)' -version '$(VERSION)' -epoch $(shell git log -1 --format=%ct)

# Where Debian's own packages put these; the unit names the binary's path. One
# that was built before is taken, since root may have no Go.
BINARY ?= greseal
INSTALLED = /usr/sbin/greseal /usr/lib/systemd/system/greseal.service /usr/share/man/man8/greseal.8 \
	/usr/share/man/man5/greseal.toml.5 /usr/share/bash-completion/completions/greseal
LIVE = $(if $(DESTDIR),false,[ -d /run/systemd/system ])

install:
	@[ -x '$(BINARY)' ] || $(MAKE) --no-print-directory greseal
	@install -D -m 755 '$(BINARY)' '$(DESTDIR)/usr/sbin/greseal'
	@install -D -m 644 build/systemd/greseal.service '$(DESTDIR)/usr/lib/systemd/system/greseal.service'
	@install -D -m 644 build/man/greseal.8 '$(DESTDIR)/usr/share/man/man8/greseal.8'
	@install -D -m 644 build/man/greseal.toml.5 '$(DESTDIR)/usr/share/man/man5/greseal.toml.5'
	@install -d '$(DESTDIR)/usr/share/bash-completion/completions'
	@'$(DESTDIR)/usr/sbin/greseal' completion >'$(DESTDIR)/usr/share/bash-completion/completions/greseal'
	@[ -d '$(DESTDIR)/etc/greseal' ] || install -d -m 700 '$(DESTDIR)/etc/greseal'
	@! $(LIVE) || systemctl daemon-reload
	@printf '  %s\n' $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)')
	@! $(LIVE) || echo 'Once the config is written: systemctl enable --now greseal'

# What keeps the tunnels' networks closed goes with the binary.
uninstall:
	@! $(LIVE) || systemctl disable --now greseal || true
	@! $(LIVE) || greseal down --all --open || true
	@rm -f $(foreach f,$(INSTALLED),'$(DESTDIR)$(f)')
	@! $(LIVE) || systemctl daemon-reload

demo: greseal
	@./greseal demo

# LUCI may name a checkout of LuCI's sources: the pages then run on the real
# client too. ROOT may name the root folder of an OpenWrt for this processor: then
# they run on a whole router made from it. The screenshots go into out/ui.
UITEST = build/openwrt/uitest
ui-test: greseal
	@[ -d $(UITEST)/node_modules ] || npm install --prefix $(UITEST) --no-package-lock --no-audit --no-fund --silent
	@node $(UITEST)/main.js ./greseal out/ui $(or $(ROOT),$(LUCI))

.PHONY: quick
quick:
	@build/quick

test:
	@build/lab/suite

unit:
	go test ./...

lab: greseal
	@CGO_ENABLED=0 go build -o out/lab/labtest ./build/lab/labtest
	@out/lab/labtest run -greseal ./greseal $(LAB)

.PHONY: owner
owner:
	@build/lab/suite -owner

# KILLS is how often, SEED where the random moments come from.
KILLS ?= 200
SEED ?= 1

kill: greseal
	@CGO_ENABLED=0 go build -o out/lab/labtest ./build/lab/labtest
	@LAB_KILLS=$(KILLS) LAB_SEED=$(SEED) out/lab/labtest run -greseal ./greseal -path userspace killed at random moments
	@build/lab/sid libreswan >/dev/null
	@for kernel in 6.1 6.12; do \
		for peers in "" -interop; do \
			LAB_KILLS=$(KILLS) LAB_SEED=$(SEED) build/lab/vm run --kernel $$kernel --timeout 14400 -- \
				out/lab/labtest run $$peers -greseal greseal -where vm -dir /tmp/lab killed at random moments || exit 1; \
		done; \
	done

bench:
	@build/bench/run $(BENCH)

bench-ike: greseal
	@build/lab/sid strongswan >/dev/null
	@CGO_ENABLED=0 go build -o out/bench/ike ./build/bench/ike
	@out/bench/ike -greseal ./greseal $(BENCH)

integrity:
	GRESEAL_INTEGRITY=1024 go test -count=1 -timeout 60m -v -run IntegrityUnderSpeed ./platform/userspace

interop:
	@build/lab/setup
	@mkdir -p out/lab && CGO_ENABLED=0 go build -o out/lab/labtest ./build/lab/labtest
	@LAB_SETUP=0 out/lab/labtest interop

# One core plays about 400 seeds a second; a seed that fails is printed as a
# scenario. SEEDS="first count" plays others.
SEEDS ?= 1 1000000

sim:
	go test ./ikev2 -run '^TestSimulation$$' -timeout 0 -sim.first $(word 1,$(SEEDS)) -sim.seeds $(word 2,$(SEEDS))

cover-ike:
	@mkdir -p out
	@go test ./ikev2 -run '^(TestScenarios|TestSimulation|TestSimulationOfWanderers)$$' -sim.seeds 1000 -coverprofile out/ikev2.cover
	@go tool cover -func out/ikev2.cover | awk '/^total/ { print "statements of ikev2 covered: " $$3; if ($$3 + 0 < 90) exit 1 }'

.PHONY: figures
figures:
	@go run ./build/figures -root '$(or $(ROOT),.)'

# Root's privileges are laid down first: nothing in here may need them.
cover-tunnel:
	@mkdir -p out
	@go test ./tunnel -short $(if $(filter 0,$(shell id -u)),-exec 'setpriv --bounding-set=-all --inh-caps=-all') -coverprofile out/tunnel.cover
	@go tool cover -func out/tunnel.cover | awk '/^total/ { print "statements of tunnel covered: " $$3; if ($$3 + 0 < 80) exit 1 }'

generate:
	go generate ./...
	GRESEAL_UPDATE=1 go test -vet=off -run DocumentationHas ./tunnel/config

clean:
	rm -rf greseal out .lab .lab-interop .lab-bench-ike
