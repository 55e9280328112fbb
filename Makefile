# shmshim: see README.md. Every target sets up what it needs, or says in one line what is missing.

PREFIX  ?= /usr/local
DESTDIR ?=
LIBDIR  ?= $(PREFIX)/lib
MANDIR  ?= $(PREFIX)/share/man
TMPFILESDIR ?= $(PREFIX)/lib/tmpfiles.d
CARGO   ?= cargo
MINUTES ?= 30

LIBRARY := target/release/libshmshim.so

.PHONY: all build check demo install uninstall crash faults hostile scale stops soak proofs bench clean

all: build

build:
	$(CARGO) build --release

check:
	@scripts/check

demo: build
	@scripts/setup
	@scripts/demo

# The long forms of what `make check` runs in a bounded form.
crash: build
	@scripts/check-crash --full

faults: build
	@scripts/check-faults --full

hostile: build
	@scripts/check-hostile --full

scale: build
	@scripts/check-scale --full

stops: build
	@scripts/check-stops --full

# make soak MINUTES=5
soak: build
	@scripts/soak --full --minutes $(MINUTES)

# What model checking, fuzzing, sanitizers and valgrind say, as far as the machine has them.
proofs: build
	@scripts/check-proofs --full

bench: build
	@scripts/bench

install: build
	install -d $(DESTDIR)$(LIBDIR) $(DESTDIR)$(MANDIR)/man7
	install -m 755 $(LIBRARY) $(DESTDIR)$(LIBDIR)/libshmshim.so
	install -m 644 man/shmshim.7 $(DESTDIR)$(MANDIR)/man7/shmshim.7
	install -d $(DESTDIR)$(TMPFILESDIR)
	install -m 644 dist/shmshim.conf $(DESTDIR)$(TMPFILESDIR)/shmshim.conf

uninstall:
	rm -f $(DESTDIR)$(LIBDIR)/libshmshim.so $(DESTDIR)$(MANDIR)/man7/shmshim.7 $(DESTDIR)$(TMPFILESDIR)/shmshim.conf

clean:
	$(CARGO) clean
