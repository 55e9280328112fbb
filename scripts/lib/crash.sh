# Shared by check-crash, check-faults, check-hostile, check-scale, check-stops and soak: building tests/crash and
# tests/soak, a library that no build replaces meanwhile, and adding up. Sourced in the project's directory.
sources=tests/crash # what all share
programs=$sources   # where the program lies, and what it has for itself
built=target/tests/crash
parts='actor tracer table world ops ops_life ops_system ops_huge observe trial report'

# build_crash PROGRAM [more sources]: $built/PROGRAM from PROGRAM.c and the parts.
build_crash() {
	program=$1
	shift
	command -v "${CC:-gcc}" >/dev/null || {
		echo "no C compiler: install gcc and the C library's headers (Debian, Ubuntu: apt-get install gcc libc6-dev)" >&2
		exit 2
	}
	mkdir -p "$built"
	if [ ! -e "$built/$program" ] || [ -n "$(find "$sources" "$programs" -name '*.[ch]' -newer "$built/$program" -print -quit)" ]; then
		files="$programs/$program.c"
		for part in $parts; do files="$files $sources/$part.c"; done
		for part; do files="$files $programs/$part.c"; done
		# shellcheck disable=SC2086
		"${CC:-gcc}" -std=gnu11 -D_GNU_SOURCE -O1 -g -Wall -Wextra -I"$sources" -pthread -o "$built/$program.new.$$" $files || exit 2
		mv "$built/$program.new.$$" "$built/$program"
	fi
}

# take_library: $library is a copy of the one that is tested.
take_library() {
	original=${SHMSHIM_LIB:-target/release/libshmshim.so}
	[ -e "$original" ] || {
		echo "there is no $original to test: make build, or set SHMSHIM_LIB" >&2
		exit 2
	}
	copies=$(mktemp -d)
	trap 'rm -rf "$copies"' EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM
	chmod 755 "$copies"
	library=$copies/libshmshim.so
	cp "$original" "$library"
	chmod a+rx "$library"
}

# count COMMAND...: shows its output but for the last line, "N passed, N failed, N skipped", which is added up.
count() {
	"$@" >"$copies/output" 2>&1 || true
	sed '$d' "$copies/output"
	last=$(tail -n 1 "$copies/output")
	if echo "$last" | grep -qE '^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$'; then
		# shellcheck disable=SC2086
		set -- $last
		passed=$((passed + $1)) failed=$((failed + $3)) skipped=$((skipped + $5))
	else
		echo "$last"
		echo "FAIL it died before its last line"
		failed=$((failed + 1))
	fi
}
