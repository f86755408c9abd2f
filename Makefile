# isoplan. `make` alone lists what there is. Without make: README.md has the same steps by hand.

SHELL := /bin/sh
CARGO ?= cargo
# nft and ip live in sbin, which is not on every user's path.
export PATH := $(PATH):/usr/local/sbin:/usr/sbin:/sbin

.DEFAULT_GOAL := help
.PHONY: help deb test-deb demo test fuzz bench bench-quick bench-micro bench-smoke build check docs install-deps demo-deps bench-deps

help:
	@echo 'make demo          see the main job in throw-away network namespaces; root not needed'
	@echo 'make test          run every test'
	@echo 'make fuzz          try broken input on every reader, SECONDS=20 each'
	@echo 'make bench         measure isoplan beside its rivals, a quarter of an hour; writes docs/performance.md'
	@echo 'make bench-quick   the same in three minutes; writes target/bench/performance.md'
	@echo 'make bench-micro   measure planning, diffing, encoding and decoding alone'
	@echo 'make build         build target/release/isoplan'
	@echo 'make deb           make a Debian package, by cargo-deb, which is built below target/ where it is missing'
	@echo 'make test-deb      install, run and purge that in a clean root; needs root'
	@echo 'make check         formatting and lints'
	@echo 'make docs          build the documentation of the code'
	@echo 'make install-deps  install the Debian packages that these need, where missing; daemons are only unpacked'

demo: demo-deps
	$(CARGO) build --release --locked --bin isoplan --example demo
	@$(CARGO) run --release --locked --quiet --example demo

test: install-deps
	$(CARGO) test --locked

# libFuzzer with a stable toolchain: what cargo-fuzz passes to rustc, but for the sanitizers, which need a nightly one
# and find little in safe code. Not --locked: fuzz/Cargo.lock follows the dependencies of the main package.
# --target keeps the flags away from build scripts.
FUZZ_TARGETS = topology netlink plan snapshot journal
FUZZ_DIR = $(or $(CARGO_TARGET_DIR),$(CURDIR)/target)/fuzz
FUZZ_FLAGS = -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
	-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
	-Cllvm-args=-sanitizer-coverage-trace-compares
FUZZ_HOST = $(shell rustc -vV | sed -n 's/^host: //p')
SECONDS ?= 20

# What is found on the way stays in target/fuzz/corpus; what fails, in fuzz/artifacts.
fuzz: FOR_FUZZ = yes
fuzz:
	@$(INSTALL)
	cd fuzz && CARGO_TARGET_DIR='$(FUZZ_DIR)' RUSTFLAGS='$(FUZZ_FLAGS)' \
		$(CARGO) build --release --target $(FUZZ_HOST)
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p "$(FUZZ_DIR)/corpus/$$target" "fuzz/artifacts/$$target" || exit 1; \
		log="$(FUZZ_DIR)/$$target.log"; \
		"$(FUZZ_DIR)/$(FUZZ_HOST)/release/$$target" -max_total_time=$(SECONDS) -timeout=10 -rss_limit_mb=2048 \
			-max_len=65536 -verbosity=0 -print_final_stats=1 -artifact_prefix="fuzz/artifacts/$$target/" \
			"$(FUZZ_DIR)/corpus/$$target" "fuzz/corpus/$$target" >"$$log" 2>&1 || { tail -n 60 "$$log"; exit 1; }; \
		echo "fuzz $$target: $$(sed -n 's/^stat::number_of_executed_units: *//p' "$$log") inputs in $(SECONDS) s"; \
	done

# isoplan and what measures it, both as a release is built. The files are written below BENCH_DIR.
BENCH = $(CARGO) bench --locked --bench side-by-side --
BENCH_DIR = $(or $(CARGO_TARGET_DIR),target)/bench

bench: bench-deps
	$(BENCH) --json "$(CURDIR)/docs/performance.json"

bench-quick: bench-deps
	@mkdir -p "$(BENCH_DIR)"
	$(BENCH) --quick --json "$(abspath $(BENCH_DIR))/performance.json"

# Whether it works, not how fast it is.
bench-smoke: bench-deps
	$(BENCH) --smoke

bench-micro: bench-deps
	$(CARGO) bench --locked --bench micro

build: demo-deps
	$(CARGO) build --release --locked --bin isoplan

# The build directory, wherever it is: assets are named below target/release, which cargo-deb takes for it.
# As Debian's own tools do, it takes the name of who builds from DEBFULLNAME and DEBEMAIL. NO_BUILD=1 packs the program
# that is there.
deb: FOR_DEB = yes
deb: $(if $(NO_BUILD),demo-deps,build)
	@dir=$$($(TARGET_DIR)) && \
		packaging/cargo-deb.sh "$$dir/tmp/cargo-deb" && \
		packaging/files.sh "$$dir/release/isoplan" "$$dir/release/package" && \
		rm -f "$$dir"/debian/isoplan_*.deb && \
		PATH="$$PATH:$$dir/tmp/cargo-deb/bin" $(CARGO) deb --no-build --locked --compress-system \
			$(if $(DEBEMAIL),--maintainer '$(or $(DEBFULLNAME),isoplan) <$(DEBEMAIL)>')

# Where packages cannot be fetched for the clean root, it fails.
test-deb: FOR_TEST_DEB = yes
test-deb: demo-deps
	@dir=$$($(TARGET_DIR)) && as_root= && { [ "$$(id -u)" = 0 ] || as_root=sudo; } && \
		$$as_root packaging/test-deb.sh "$$dir"/debian/isoplan_*.deb

check: install-deps
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings

docs: demo-deps
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps

install-deps: FOR_TESTS = yes
bench-deps: FOR_BENCH = yes
install-deps demo-deps bench-deps:
	@$(INSTALL)
	@[ -z '$(FOR_TESTS)' ] || { \
		dir=$$($(TARGET_DIR))/tmp && \
		sh tests/neighbours/packages.sh "$$dir/neighbours" && \
		sh tests/it/schema/taplo.sh "$$dir/taplo"; \
	}

TARGET_DIR = $(CARGO) metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/'

# Collects in $$missing the packages of what is not there, and installs those. The package lists are
# fetched only when the packages cannot be found without.
define INSTALL
set -eu; \
if ! command -v $(CARGO) >/dev/null; then \
	echo 'error: there is no cargo on the path; install a Rust toolchain, 1.88 or newer' >&2; exit 1; \
fi; \
missing=; \
has() { command -v "$$1" >/dev/null 2>&1; }; \
links() { has cc && echo 'int main(void) { return 0; }' | cc -x c -o /dev/null - 2>/dev/null; }; \
links || missing="$$missing gcc libc6-dev"; \
has pkg-config || missing="$$missing pkg-config"; \
for lib in libmnl libnftnl; do \
	pkg-config --exists "$$lib" 2>/dev/null || missing="$$missing $$lib-dev"; \
done; \
if [ -n '$(FOR_FUZZ)' ]; then has c++ || missing="$$missing g++"; fi; \
has nft || missing="$$missing nftables"; \
has ip || missing="$$missing iproute2"; \
has unshare || missing="$$missing util-linux"; \
if [ -n '$(FOR_TESTS)$(FOR_BENCH)' ]; then has iptables-restore || missing="$$missing iptables"; fi; \
if [ -n '$(FOR_TESTS)' ]; then \
	has ping || missing="$$missing iputils-ping"; \
	has sysctl || missing="$$missing procps"; \
	python3 -m pip --version >/dev/null 2>&1 || missing="$$missing python3-pip"; \
	for name in mandoc zsh fish jq git; do has $$name || missing="$$missing $$name"; done; \
	has chromium || missing="$$missing chromium"; \
	has chromedriver || missing="$$missing chromium-driver"; \
	has dot || missing="$$missing graphviz"; \
fi; \
if [ -n '$(FOR_DEB)' ]; then \
	has dpkg-shlibdeps || missing="$$missing dpkg-dev"; \
	has xz || missing="$$missing xz-utils"; \
fi; \
if [ -n '$(FOR_TEST_DEB)' ]; then \
	for name in mmdebstrap lintian; do has $$name || missing="$$missing $$name"; done; \
fi; \
[ -n "$$missing" ] || exit 0; \
if ! has apt-get; then \
	echo "error: missing here, by the names of Debian's packages:$$missing" >&2; \
	echo 'hint: install them with the package manager of this system, then run make again' >&2; exit 1; \
fi; \
as_root=; \
if [ "$$(id -u)" != 0 ]; then \
	if ! has sudo; then \
		echo "error: missing here:$$missing" >&2; \
		echo "hint: as root: apt-get update && apt-get install$$missing" >&2; exit 1; \
	fi; \
	as_root=sudo; \
fi; \
echo "Installing:$$missing"; \
apt() { $$as_root env DEBIAN_FRONTEND=noninteractive apt-get "$$@"; }; \
fetch() { apt install -qq -y --no-install-recommends $$missing; }; \
fetch >/dev/null 2>&1 || { apt update -qq && fetch; }
endef
