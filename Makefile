# shmshim: see README.md. What needs no make at all: scripts/check and scripts/demo set up, build and run.

# Where to; scripts/install tells the rest: LIBDIR, MANDIR, DOCDIR, TMPFILESDIR.
export PREFIX  ?= /usr/local
export DESTDIR ?=
CARGO   ?= cargo
MINUTES ?= 30

.PHONY: all build check check-targets check-arm64 demo install uninstall deb dist crash faults hostile nosysv scale stops soak proofs bench clean setup help

all: build

# What stands behind ## is what `make help` prints.

build: setup ## target/release/libshmshim.so and target/command/shmshim; what plain `make` does
	$(CARGO) build --release
	$(CARGO) build --profile command -p shmshim-cli

check: ## whether the tree is good: everything below but bench, bounded (scripts/check --help)
	@scripts/check

check-targets: ## 32-bit x86, musl, AArch64, Android, as far as scripts/setup-target has made their compilers
	@scripts/check i686 musl aarch64 android

demo: ## the main job, shown with programs of the distribution
	@scripts/demo

install: ## what was built, under PREFIX=/usr/local, in DESTDIR; needs no cargo
	@scripts/install

uninstall: ## takes it away
	@scripts/install --remove

deb: ## a Debian package, in target/dist
	@scripts/package deb

dist: ## archives of the sources and of what is built, with their checksums, in target/dist
	@scripts/package dist

crash: build ## kills a program at every step of every operation
	@scripts/check-crash --full

faults: build ## refuses every system call of every operation, with each errno
	@scripts/check-faults --full

hostile: build ## puts things in the way, cuts and exchanges files, writes nonsense to the table
	@scripts/check-hostile --full

nosysv: build ## runs all C tests, real programs and the demo where the kernel's own calls kill
	@scripts/check-nosysv --full

scale: build ## has many of everything, and too little of everything
	@scripts/check-scale --full

stops: build ## stops a process at 100000 random moments, and measures who waits for it
	@scripts/check-stops --full

soak: build ## has everything happen at once, with kills and stops, for MINUTES=30
	@scripts/soak --full --minutes $(MINUTES)

proofs: build ## model checking, fuzzing, sanitizers, valgrind, as far as the machine has them
	@scripts/check-proofs --full

bench: build ## compares with the kernel on this machine
	@scripts/bench

check-arm64: ## the C tests, PostgreSQL and the bench on AArch64, in an emulated machine; takes an hour
	@scripts/check-arm64

clean: ## removes what was built
	$(CARGO) clean

# A C compiler to link with; says in one line what is missing.
setup:
	@scripts/setup build

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name what; do printf 'make %-13s %s\n' "$$name" "$$what"; done
