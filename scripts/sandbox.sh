#!/bin/sh
# Gets bubblewrap, the default sandbox, from the system's package manager where it may: as root, or with a sudo that
# asks no password. Where it may not, it says what that means. It never fails: a missing sandbox is the user's to
# judge, and `discovery run` judges again.
set -u

works() {
    command -v bwrap >/dev/null 2>&1 &&
        bwrap --ro-bind / / --proc /proc --dev /dev --unshare-all true >/dev/null 2>&1
}

manager() {
    for name in apt-get dnf pacman apk zypper; do
        command -v "$name" >/dev/null 2>&1 && { echo "$name"; return; }
    done
}

command_of() {
    case "$1" in
        apt-get) echo "apt-get install -y --no-install-recommends bubblewrap" ;;
        dnf) echo "dnf install -y bubblewrap" ;;
        pacman) echo "pacman -Sy --noconfirm bubblewrap" ;;
        apk) echo "apk add bubblewrap" ;;
        zypper) echo "zypper --non-interactive install bubblewrap" ;;
    esac
}

works && exit 0

manager=$(manager)
install=$(command_of "$manager")
if [ "$(id -u)" = 0 ]; then
    prefix=""
elif command -v sudo >/dev/null 2>&1 && sudo -n true >/dev/null 2>&1; then
    prefix="sudo -n "
else
    prefix="none"
fi

if ! command -v bwrap >/dev/null 2>&1 && [ -n "$install" ] && [ "$prefix" != none ]; then
    echo "getting the sandbox: $prefix$install"
    log=$(mktemp)
    if [ "$manager" = apt-get ]; then
        # The package lists may be missing or old; installing is what tells.
        ${prefix}apt-get update -q >"$log" 2>&1
    fi
    ${prefix}env DEBIAN_FRONTEND=noninteractive $install >>"$log" 2>&1 || tail -n 3 "$log" >&2
    rm -f "$log"
    works && exit 0
fi

consequence="Runs with a model will refuse to start; the embedded mutations run as plain processes."
if command -v bwrap >/dev/null 2>&1; then
    echo "note: bubblewrap is installed but may not make namespaces here. $consequence See: .venv/bin/discovery doctor" >&2
elif [ -n "$install" ]; then
    echo "note: no sandbox (bubblewrap) here. $consequence To get it: sudo $install" >&2
else
    echo "note: no sandbox (bubblewrap) here. $consequence Get it with this system's package manager." >&2
fi
exit 0
