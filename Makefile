# The few commands one needs; the build itself is Meson's, in build/.
#
#   make                    build/longhaul, after installing what is missing (Debian)
#   make demo               two local servers, data, replication, comparison
#   make test               unit tests, then end-to-end tests against real servers
#   make test-long          the same with the tests that take minutes
#   make chaos SEEDS=n      writers and faults by seed [FIRST=k] [PAIR=cluster-standalone] [CAPTURE=tracking]
#                           [DECEPTIVE=1: false clocks, lost leases, foreign writers ...] [ONLY=fault,fault]
#   make fuzz               every fuzz target for FUZZ_SECONDS
#   make bench              the benchmarks, into build/bench.json; QUICK=1 in two minutes, BENCH_ARGS='--only ROW'
#   make check              room order, headers, format, tree, docs, measures
#   make measure            the measures of the code, each with its limit (tools/measure-code --help)
#   make coverage           the lines that the unit tests run of the files that hold the proof, with their limits
#   make install            to PREFIX, below DESTDIR

BUILD ?= build
PREFIX ?= /usr/local
PYTHON ?= /usr/bin/python3
FUZZ_SECONDS ?= 10
PYTEST_ARGS ?=
BENCH_ARGS ?=
SEEDS ?= 10

.NOTPARALLEL:
.PHONY: all demo test test-long unit e2e chaos fuzz bench format check measure coverage install clean

all:
	@tools/bootstrap build
	@test -f $(BUILD)/build.ninja || meson setup $(BUILD) --prefix $(PREFIX) -Dtests=false
	@ninja -C $(BUILD) --quiet

# $(call timed,NAME,COMMAND): runs COMMAND, and says how long it took.
timed = @began=$$(date +%s); status=0; { $(2); } || status=$$?; took=$$(($$(date +%s) - began)); \
	echo "make $(1): $$(test $$status -eq 0 && echo passed || echo FAILED) after $$((took / 60)) min $$((took % 60)) s"; \
	exit $$status

demo:
	@echo "make demo: builds the program (two minutes at the first time), then shows it for half a minute"
	$(call timed,demo,$(MAKE) --no-print-directory all && tools/bootstrap demo && $(BUILD)/longhaul demo)

test:
	@echo "make test: unit tests in a minute, end-to-end tests in about 20 minutes on two processors"
	$(call timed,test,$(MAKE) --no-print-directory unit e2e)

unit: all
	@tools/bootstrap test
	@test -d $(BUILD)/tests/unit || meson configure $(BUILD) -Dtests=true
	@ninja -C $(BUILD) --quiet
	meson test -C $(BUILD) --no-rebuild --print-errorlogs

e2e: all
	@tools/bootstrap test
	LONGHAUL_BIN=$(abspath $(BUILD)/longhaul) $(PYTHON) -m pytest -n 2 tests/e2e $(PYTEST_ARGS)
	$(PYTHON) -m pytest -q -p no:cacheprovider tests/bench

test-long: unit
	LONGHAUL_BIN=$(abspath $(BUILD)/longhaul) $(PYTHON) -m pytest -n 2 -m "" tests/e2e $(PYTEST_ARGS)

chaos: all
	@tools/bootstrap test
	@cd tests/e2e && LONGHAUL_BIN=$(abspath $(BUILD)/longhaul) $(PYTHON) -m chaos --seeds $(SEEDS) \
		$(if $(FIRST),--first $(FIRST)) $(if $(PAIR),--pair $(PAIR)) $(if $(CAPTURE),--capture $(CAPTURE)) \
		$(if $(DECEPTIVE),--deceptive) $(if $(ONLY),--only "$(ONLY)")

fuzz:
	@tools/bootstrap build test
	@FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run

bench: all
	@tools/bootstrap bench
	@ninja -C $(BUILD) --quiet tests/bench/wan
	@tests/bench/run --build $(BUILD) $(if $(QUICK),--quick) $(BENCH_ARGS)

format:
	@tools/bootstrap test
	git ls-files -co --exclude-standard -- '*.c' '*.h' | xargs -r clang-format -i

check:
	@tools/bootstrap build test
	@failed=; for check in tools/check-* "tools/measure-code --check"; do $$check || failed="$$failed $$check"; done; \
	if [ -n "$$failed" ]; then echo "check: failed:$$failed" >&2; exit 1; fi

measure: all
	@tools/bootstrap test
	@tools/measure-code --build $(BUILD)

coverage:
	@tools/bootstrap build test
	@tools/measure-coverage $(BUILD)-coverage

install: all
	@meson configure $(BUILD) -Dprefix=$(PREFIX)
	DESTDIR=$(abspath $(DESTDIR)) meson install -C $(BUILD)

clean:
	rm -rf $(BUILD)
