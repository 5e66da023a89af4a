# Everything a developer runs.  `make` alone lists the targets; each does its own set-up.
#
#   .venv         build tools, demo, bench, lint; holds the wheel in dist/
#   .venv-test    the same wheel and what the tests need
#   .venv-oldest  the same with the oldest rocksdict that is allowed
#   .venv-asan    the extension with sanitizers compiled in
#   .cache-ft     a free-threaded CPython with a venv, where $(FRYS_SHARED)/python has one
#
# Stamp files carry the Python version, so `make PYTHON=python3.13 test` starts over by itself.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
FRYS_SHARED ?= ../shared

PYVER := $(lastword $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null))
SOURCES := pyproject.toml setup.py MANIFEST.in README.md LICENSE \
    $(shell find csrc frys_cache -name __pycache__ -prune -o -print)
C_FILES = $(shell find csrc tests/c -name '*.[ch]')
FT_TAR := $(firstword $(wildcard $(FRYS_SHARED)/python/cpython-*t-*$(shell uname -m).tar.xz))

export FRYS_SHARED := $(abspath $(FRYS_SHARED))
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_ROOT_USER_ACTION := ignore
# Somebody's own path must not decide which frys_cache is tested.
unexport PYTHONPATH PYTHONHOME

PIP := pip install -qq
# A hang ends the run with a traceback of every thread.
HANG := -o faulthandler_timeout=300 -o faulthandler_exit_on_timeout=true

say = @printf '\n\033[1m== %s\033[0m\n' "$(1)"

# Debian's packages, only when something is missing.
define apt
	echo "missing:$(1)"; \
	command -v apt-get >/dev/null || { echo "please install that by hand and run make again"; exit 1; }; \
	as_root=; if [ "$$(id -u)" != 0 ]; then as_root=sudo; fi; \
	$$as_root apt-get -qq update && \
	$$as_root apt-get -qq install -y --no-install-recommends $(1) >/dev/null || { \
	    echo "could not install$(1); please install that by hand and run make again"; exit 1; }
endef

.PHONY: help build demo test bench asan lint format soak clean system test-c test-python test-wheel test-oldest \
    test-ft

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

build: dist/.built-$(PYVER)  ## sdist, and the wheel built from it, in dist/
	@ls dist

demo: .venv/.demo-$(PYVER)  ## summarise the standard library: cold, from memory, from disk
	@.venv/bin/python benchmarks/demo.py

test: system test-c test-python  ## every test: C, the wheel, free-threaded CPython

bench: .venv/.bench-$(PYVER)  ## compare with dict and the other caches; fail when a ratio is out of bounds
	@status=0; for bench in gate codec persistent chain; do \
	    .venv/bin/python benchmarks/$$bench.py || status=1; done; exit $$status

asan: .venv-asan/.ready-$(PYVER)  ## the whole suite under AddressSanitizer, LeakSanitizer and UBSan
	$(call say,the suite under ASan + UBSan$(if $(filter 0,$(LEAKS)),; leaks are looked for on 3.11 only))
	@LD_PRELOAD="$$($(CC) -print-file-name=libasan.so)" PYTHONMALLOC=malloc \
	ASAN_OPTIONS=detect_leaks=$(LEAKS):exitcode=99:allocator_may_return_null=1 \
	UBSAN_OPTIONS=print_stacktrace=1 FRYS_SANITIZED=1 FRYS_EXPECT_INSTALLED=1 \
	.venv-asan/bin/pytest -s -p no:faulthandler $(ARGS)

lint: .venv/.lint-$(PYVER)  ## ruff, mypy, stubtest of _core.pyi, clang-format
	$(call say,ruff)
	@.venv/bin/ruff check --output-format concise .
	@.venv/bin/ruff format --check .
	$(call say,mypy)
	@.venv/bin/mypy
	@.venv/bin/mypy tests/typing/api.py
	$(call say,stubtest)
	@.venv/bin/stubtest frys_cache._core
	$(call say,clang-format)
	@.venv/bin/clang-format --dry-run -Werror $(C_FILES)

format: .venv/.lint-$(PYVER)  ## rewrite what lint would complain about, where a tool can
	@.venv/bin/ruff check --fix-only -q .
	@.venv/bin/ruff format .
	@.venv/bin/clang-format -i $(C_FILES)

soak: .venv-test/.ready-$(PYVER) .venv-oldest/.ready-$(PYVER)  ## stateful tests, threads, histories and kills for much longer
	@FRYS_SOAK=1 FRYS_EXPECT_INSTALLED=1 .venv-test/bin/pytest -k "stateful or thread or history or kill or death" $(ARGS)
	$(call say,the whole suite with the oldest rocksdict)
	@FRYS_EXPECT_INSTALLED=1 .venv-oldest/bin/pytest $(ARGS)
	@$(MAKE) test-ft FT_LATER=

clean:  ## remove everything made here
	rm -rf .venv .venv-test .venv-oldest .venv-asan .cache-ft build dist *.egg-info
	rm -rf .hypothesis .pytest_cache .mypy_cache .ruff_cache .benchmarks
	find . -name __pycache__ -prune -exec rm -rf {} +

# The steps of `make test`.

test-c: system
	$(call say,the C headers; plain C under ASan + UBSan)
	@$(PYTHON) tests/c/run.py

# Beside each other: each takes one core, and minutes.
test-python: .venv-test/.ready-$(PYVER) .venv-oldest/.ready-$(PYVER) $(if $(FT_TAR),.cache-ft/.ready)
	@mkdir -p build; $(MAKE) test-ft >build/test-ft.log 2>&1 & other=$$!; status=0; \
	    $(MAKE) test-wheel test-oldest || status=1; \
	    wait $$other || status=1; cat build/test-ft.log; exit $$status

test-wheel: .venv-test/.ready-$(PYVER)
ifeq ($(FT_TAR),)
	$(call say,NOTICE: no free-threaded CPython in $(FRYS_SHARED)/python: its tests are left out)
endif
	$(call say,the installed wheel; CPython $(PYVER))
	@FRYS_EXPECT_INSTALLED=1 .venv-test/bin/pytest $(HANG) $(ARGS)

test-oldest: .venv-oldest/.ready-$(PYVER)
	$(call say,the tier on disk with the oldest rocksdict)
	@FRYS_EXPECT_INSTALLED=1 .venv-oldest/bin/pytest $(HANG) tests/test_tier_*.py tests/test_persistent.py $(ARGS)

ifeq ($(FT_TAR),)
test-ft:
else
# Keys and values as bytes take 4 minutes there and know of no thread: `make soak` has them.
FT_LATER = --ignore-glob='*/test_codec_*'
# The GIL may come on at import there until the lock of the store is a real one.
test-ft: .cache-ft/.ready
	$(call say,free-threaded CPython; packages without a build for it are left out and named)
	@FRYS_EXPECT_INSTALLED=1 FRYS_ALLOW_MISSING=1 FRYS_BRIEF=1 .cache-ft/venv/bin/pytest $(HANG) \
	    -W 'ignore:The global interpreter lock' $(FT_LATER) $(ARGS)
endif

# Set-up.

system:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Frys Cache needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1 || true)."; \
	    echo "Name another one so: make PYTHON=python3.12 ..."; exit 1; }
	@missing=; \
	command -v $(CC) >/dev/null || missing+=" gcc libc6-dev"; \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || missing+=" python$(PYVER)-venv"; \
	test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
	    || missing+=" python$(PYVER)-dev"; \
	if [ -n "$$missing" ]; then $(call apt,$$missing); fi

%/.made-$(PYVER): | system
	$(call say,$*: a venv of CPython $(PYVER))
	@rm -rf $*
	@$(PYTHON) -m venv $*
	@$*/bin/$(PIP) --upgrade pip
	@touch $@

dist/.built-$(PYVER): $(SOURCES) .venv/.made-$(PYVER)
	$(call say,the sdist; and from it the wheel)
	@.venv/bin/$(PIP) --group build
	@rm -rf dist && mkdir -p build
	@.venv/bin/pyproject-build >build/dist.log 2>&1 || { cat build/dist.log; exit 1; }
	@grep -E ':[0-9]+:.*warning:' build/dist.log || true
	@touch $@

.venv/.installed-$(PYVER): dist/.built-$(PYVER)
	@.venv/bin/$(PIP) --force-reinstall --no-deps dist/*.whl
	@touch $@

.venv/.demo-$(PYVER): .venv/.installed-$(PYVER) pyproject.toml
	@.venv/bin/$(PIP) --group demo
	@touch $@

.venv/.bench-$(PYVER): .venv/.installed-$(PYVER) pyproject.toml
	@.venv/bin/$(PIP) "$$(echo dist/*.whl)[benchmarks]"
	@touch $@

.venv/.lint-$(PYVER): .venv/.installed-$(PYVER) pyproject.toml
	@.venv/bin/$(PIP) --group lint --group test
	@touch $@

.venv-test/.ready-$(PYVER): .venv-test/.made-$(PYVER) dist/.built-$(PYVER)
	@.venv-test/bin/$(PIP) --group test
	@.venv-test/bin/$(PIP) --force-reinstall --no-deps dist/*.whl
	@touch $@

.venv-oldest/.ready-$(PYVER): .venv-oldest/.made-$(PYVER) dist/.built-$(PYVER)
	@.venv-oldest/bin/$(PIP) --group test-oldest
	@.venv-oldest/bin/$(PIP) --force-reinstall --no-deps dist/*.whl
	@touch $@

# No cache: a wheel made of the same sdist with other flags must not be taken for this one.
FROM_SDIST := $(PIP) --force-reinstall --no-deps --no-build-isolation --no-cache-dir

.venv-asan/.ready-$(PYVER): .venv-asan/.made-$(PYVER) dist/.built-$(PYVER)
	$(call say,the extension with sanitizers)
	@.venv-asan/bin/$(PIP) --group test
	@FRYS_SANITIZE=address,undefined FRYS_WERROR=1 .venv-asan/bin/$(FROM_SDIST) dist/*.tar.gz
	@touch $@

.cache-ft/.ready: $(FT_TAR) dist/.built-$(PYVER)
	$(call say,$(notdir $(FT_TAR)))
	@command -v xz >/dev/null || { $(call apt, xz-utils); }
	@rm -rf .cache-ft && mkdir .cache-ft
	@tar -xJf $(FT_TAR) -C .cache-ft
	@"$$(ls .cache-ft/bin/python3.*t)" -m venv .cache-ft/venv
	@.cache-ft/venv/bin/$(PIP) --upgrade pip
	@.cache-ft/venv/bin/$(PIP) --only-binary :all: --group test-freethreaded
	@.cache-ft/venv/bin/$(FROM_SDIST) dist/*.tar.gz
	@touch $@

# Other versions of CPython leak at exit by themselves; 3.11 has a clean baseline.
LEAKS = $(if $(filter 3.11,$(PYVER)),1,0)
