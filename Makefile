# polymount: make deps demo | make deps check. Variants: SANITIZE=address,undefined or thread, CC=clang.

CC       ?= cc
CFLAGS   ?= $(if $(SANITIZE),-O1,-O2) -g
MAKEFLAGS += --no-builtin-rules
PREFIX   ?= /usr/local
VERSION  := 0.1

DEPS_BUILD := build-essential pkg-config libfuse3-dev fuse3 libcurl4-openssl-dev libcjson-dev \
              libssl-dev libsqlite3-dev libinih-dev libmicrohttpd-dev
DEPS_DEMO  := attr curl jq rsync
DEPS_TEST  := $(DEPS_DEMO) libcmocka-dev bats parallel psmisc python3 git sqlite3 vim-tiny nano \
              libglib2.0-bin fio stress-ng dbench bonnie++ nodejs npm
# From npm, into build/npm: what the emulator is measured by.
DEPS_NPM   := @google-cloud/storage@7.22.0
DEPS_BENCH := aria2 build-essential curl jq
DEPS_LINT  := clang clang-format clang-tidy cppcheck

comma    := ,
VARIANT  := $(if $(SANITIZE),$(subst $(comma),-,$(SANITIZE)),plain)$(if $(findstring clang,$(CC)),-clang)
B        := build/$(VARIANT)
PKGS     := fuse3 libcurl libcjson libcrypto sqlite3 inih
EMU_PKGS := libmicrohttpd libcjson libcrypto libssl sqlite3

sanitize   = $(if $(SANITIZE),-fsanitize=$(SANITIZE) -fno-sanitize-recover=all -fno-omit-frame-pointer)
# ThreadSanitizer does not start where addresses are randomised in more than 28 bits.
steady     = $(if $(findstring thread,$(SANITIZE)),$(shell setarch -R true 2>/dev/null && echo setarch -R))
pm_cflags  = -std=gnu17 -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -D_GNU_SOURCE \
             -D_FILE_OFFSET_BITS=64 -DFUSE_USE_VERSION=314 -DPM_VERSION='"$(VERSION)"' -I. -pthread \
             -fstack-protector-strong $(sanitize) \
             $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
pm_ldflags = -pthread $(if $(SANITIZE),-fsanitize=$(SANITIZE))
pm_libs    = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -lm

layer_objs = $(patsubst %.c,$(B)/%.o,$(wildcard $(1)/*.c))
FS_OBJS    := $(call layer_objs,fs)
CORE_OBJS  := $(filter-out $(B)/fs/main.o,$(FS_OBJS)) $(call layer_objs,cache) \
              $(call layer_objs,backends)
EMU_OBJS   := $(call layer_objs,tests/emulator)
# What test_inject makes fail, as the linker knows it (tests/unit/inject/calls.c).
INJECT     := pwrite64 pread64 fsync fdatasync syncfs open64 openat64 opendir ftruncate64 fallocate64 \
              rename unlink unlinkat mkdir mkdirat linkat fstat64 fstatat64 lseek64 fsetxattr \
              pthread_create malloc calloc realloc reallocarray strdup strndup vasprintf open_memstream
UNIT_LIB   := $(filter-out $(B)/tests/unit/test_%.o,$(call layer_objs,tests/unit))
UNIT_TESTS := $(patsubst tests/unit/%.c,$(B)/unit/%,$(wildcard tests/unit/test_*.c))
FUZZ_TESTS := $(patsubst tests/fuzz/%.c,$(B)/replay/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZERS    := $(patsubst tests/fuzz/%.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
FUZZ_SECONDS ?= 30
JOBS     ?= $(if $(SANITIZE),4,6)

.PHONY: all deps deps-lint deps-bench bench demo tests check check-unit check-drive check-fuzz \
        check-layers lint fuzz fuzz-here fuzzers fuzzers-here soak install clean
.SECONDARY:

# The links are for people; the tests name the variant's folder. (They are no targets: with .SECONDARY
# a link that is there would keep make from building a variant that is not.)
all: $(B)/polymount $(B)/polymount-emulator
	@$(if $(SANITIZE),true,ln -sf $(VARIANT)/polymount $(VARIANT)/polymount-emulator build/)

$(B)/polymount: $(B)/fs/main.o $(B)/libpolymount.a
	@echo "  LD  $@"
	@$(CC) $(pm_ldflags) $(LDFLAGS) -o $@ $^ $(pm_libs)

$(B)/libpolymount.a: $(CORE_OBJS)
	@rm -f $@
	@$(AR) rcs $@ $^

$(B)/polymount-emulator: $(EMU_OBJS)
	@echo "  LD  $@"
	@$(CC) $(pm_ldflags) $(LDFLAGS) -o $@ $^ $(shell pkg-config --libs $(EMU_PKGS) 2>/dev/null)

$(B)/unit/%: $(B)/tests/unit/%.o $(UNIT_LIB) $(B)/libpolymount.a
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(pm_ldflags) $(LDFLAGS) -o $@ $^ $(pm_libs) -lcmocka

$(B)/unit/test_inject $(B)/unit/test_dbfail: $(B)/tests/unit/inject/calls.o
$(B)/unit/test_inject $(B)/unit/test_dbfail: pm_ldflags += $(addprefix -Wl$(comma)--wrap=,$(INJECT))

$(B)/replay/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/tests/fuzz/replay.o $(B)/libpolymount.a
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) $(pm_ldflags) $(LDFLAGS) -o $@ $^ $(pm_libs)

$(B)/fuzz_%: $(B)/tests/fuzz/fuzz_%.o $(B)/libpolymount.a
	@echo "  LD  $@"
	@$(CC) $(pm_ldflags) -fsanitize=fuzzer $(LDFLAGS) -o $@ $^ $(pm_libs)

# With -j, too, what is installed in the same run is there before anything is built.
$(B)/%.o: %.c $(if $(filter deps,$(MAKECMDGOALS)),| deps)
	@mkdir -p $(@D)
	@echo "  CC  $<"
	@$(CC) $(pm_cflags) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find build -name '*.d' 2>/dev/null)

# Preloaded into the daemon by tests/drive/inject.bats.
$(B)/inject.so: tests/drive/inject.c
	@mkdir -p $(@D)
	@echo "  LD  $@"
	@$(CC) -std=gnu17 -Wall -Wextra -Werror -D_GNU_SOURCE $(CPPFLAGS) $(CFLAGS) -fPIC -shared -o $@ $< -ldl

# --- what a machine needs, by Debian's names; contrib/deps.sh has those of other systems
# Where only these goals stand beside `deps`, nothing is installed that only tests want.
untested := $(if $(filter all demo install,$(MAKECMDGOALS)),$(if \
                 $(filter-out deps all demo install,$(MAKECMDGOALS)),,yes))

deps:
	@contrib/deps.sh $(DEPS_BUILD) $(if $(untested),$(DEPS_DEMO),$(DEPS_TEST))
	@$(if $(untested),true,contrib/npm.sh build/npm $(DEPS_NPM))

deps-lint:
	@contrib/deps.sh $(DEPS_LINT)

deps-bench:
	@contrib/deps.sh $(DEPS_BENCH)

demo: all
	@contrib/demo.sh

# All that the tests of this variant want to have been built.
tests: all $(UNIT_TESTS) $(B)/inject.so

# As parts, one after the other: all of them run, and what failed is said in the end.
check: $(if $(filter deps,$(MAKECMDGOALS)),| deps)
	@+tests/check.sh

# The conformance tests want the emulator.
check-unit: $(UNIT_TESTS) $(B)/polymount-emulator
	@JOBS=$(JOBS) $(steady) tests/unit/run.sh $(UNIT_TESTS)

# JOBS files at a time, or of a single one tests; QUICK=1: those tagged quick, some of every area;
# FILES=tests/drive/NAME.bats.
check-drive: all $(B)/inject.so
	@PM_BUILD=$(CURDIR)/$(B) $(steady) tests/drive/run.sh $(if $(QUICK),--quick) --jobs $(JOBS) $(FILES)

# Replays the corpora; `fuzz` (needs clang) looks for new findings, each target FUZZ_SECONDS long.
check-fuzz: $(FUZZ_TESTS)
	@tests/fuzz/run.sh $(FUZZ_TESTS)

fuzz fuzzers:
	@$(MAKE) --no-print-directory CC=clang SANITIZE=fuzzer-no-link,address,undefined VARIANT=fuzz \
	    $@-here

fuzzers-here: $(FUZZERS)

fuzz-here: $(FUZZERS)
	@FUZZ_FLAGS='$(FUZZ_FLAGS)' tests/fuzz/fuzz.sh $(FUZZ_SECONDS) $(FUZZERS)

check-layers:
	@tests/layers.sh

lint: check-layers
	@tests/lint.sh

# Everything, longer: hours.
soak:
	@tests/soak.sh

# polymount beside curl on a simulated line: tests/bench/README.md. BENCH='-p wan -r 1' as bench.sh's options.
bench: all
	@PM_BUILD=$(CURDIR)/$(B) tests/bench/bench.sh $(BENCH)

install: all
	install -D -m 755 $(B)/polymount $(DESTDIR)$(PREFIX)/bin/polymount
	install -D -m 755 $(B)/polymount-emulator $(DESTDIR)$(PREFIX)/libexec/polymount/polymount-emulator
	ln -sf polymount $(DESTDIR)$(PREFIX)/bin/mount.fuse.polymount

clean:
	rm -rf build
