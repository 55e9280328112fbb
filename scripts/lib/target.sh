# Where the other machines' compilers are, and how to call them; read by scripts/setup-target and scripts/check-target.
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
if [ -z "${SHMSHIM_TARGETS:-}" ]; then
    if [ "$(id -u)" = 0 ]; then SHMSHIM_TARGETS=/opt/shmshim-targets; else SHMSHIM_TARGETS=$HOME/.cache/shmshim-targets; fi
fi
targets=$SHMSHIM_TARGETS

# Whether the machine's own Rust has the standard library for it.
has_std() { [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$1/lib" ]; }

# use_target NAME: sets triple, cc (its C compiler), libdirs (where its loader looks for $LIB) and build (the command that
# makes the library), or says in `lacks` what is missing.
use_target() {
    local std=1
    lacks= cc= libdirs=() build=()
    case $1 in
    i686) triple=i686-unknown-linux-gnu cc=$targets/bin/i686-gcc libdirs=(lib/i386-linux-gnu lib32) build=(cargo build --release) ;;
    aarch64)
        triple=aarch64-unknown-linux-gnu cc=aarch64-linux-gnu-gcc libdirs=(lib/aarch64-linux-gnu) build=(cargo build --release)
        export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$cc
        ;;
    musl)
        # musl takes LD_PRELOAD word by word: a folder of that name is where it looks.
        triple=x86_64-unknown-linux-musl cc=$targets/bin/musl-cc libdirs=('$LIB') std=
        build=(env "RUSTFLAGS=-C target-feature=-crt-static -C link-self-contained=no" cargo build --release -Zbuild-std=std,panic_unwind)
        export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=$targets/bin/musl-link RUSTC_BOOTSTRAP=1
        ;;
    android) triple=aarch64-linux-android std= build=(cargo check -Zbuild-std=std,panic_unwind) && export RUSTC_BOOTSTRAP=1 ;;
    *) echo "there is no target $1" >&2 && exit 2 ;;
    esac
    build+=(-p shmshim --target "$triple" --quiet)
    if [ -n "$std" ] && has_std "$triple"; then
        :
    elif [ -x "$targets/bin/rustc" ] && [ -d "$targets/rust/usr/lib/rustlib/$([ -n "$std" ] && echo "$triple" || echo src)" ]; then
        export RUSTC=$targets/bin/rustc
    else
        lacks="no Rust for $triple"
    fi
    [ -n "$lacks" ] || [ -z "$cc" ] || command -v "$cc" >/dev/null || lacks="no C compiler for $1"
    [ -z "$lacks" ] || lacks+=" (scripts/setup-target $1)"
}
