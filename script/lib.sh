# shellcheck shell=sh
# What script/demo and script/test have in common. Sourced, by a script that has set $me (its name) and $root (the checkout).
# shellcheck disable=SC2154  # both are set there

# Ends with the sentence $1 and the exit code of wrong usage.
refuse() {
    echo "$me: $1" >&2
    exit 4
}

# Goes on as root: where this is not root, by sudo, with the arguments from $2 on. $1 ends the sentence where there is no sudo.
as_root() {
    otherwise=$1
    shift
    [ "$(id -u)" != 0 ] || return 0
    command -v sudo >/dev/null 2>&1 ||
        refuse "the lab boots real hosts and needs root, and there is no sudo here: $otherwise"
    echo "$me: the lab boots real hosts and needs root: going on with sudo"
    # The way out of this machine, and what says where the lab and its tests keep their things.
    carried=SSL_CERT_FILE,SSL_CERT_DIR,PIP_CERT,REQUESTS_CA_BUNDLE,CURL_CA_BUNDLE,PIP_INDEX_URL
    carried=$carried,http_proxy,https_proxy,no_proxy,HTTP_PROXY,HTTPS_PROXY,NO_PROXY
    carried=$carried,LAB_CACHE,CI,LIVE_LAB,LIVE_KEEP,FAULTS_SEED,FAULTS_DRAW
    exec sudo --preserve-env="$carried" "$root/script/$me" "$@"
}

# Installs these packages of Debian's, or ends with a sentence.
install_packages() {
    # A list that cannot be renewed matters only if the packages are in no other one.
    apt-get -qq update || true
    DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends "$@" >/dev/null ||
        refuse "apt-get could not install $* (its own words are above): mend that and run script/$me again"
}

# Debian's Python comes without what makes virtual environments; for root.
ensure_venv() {
    if command -v apt-get >/dev/null 2>&1 && ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$me: installing python3-venv"
        install_packages python3-venv
    fi
}

# What was made under sudo in a person's checkout is theirs.
give_back() {
    [ -n "${SUDO_UID:-}" ] || return 0
    # Where the checkout itself is another's, what is in it is too.
    [ -n "$(find "$root" -prune -user "$SUDO_UID")" ] || return 0
    # What it cannot give it says, and how the script ends is about other things.
    find "$root" -xdev -user 0 -exec chown -h "$SUDO_UID:${SUDO_GID:-$SUDO_UID}" {} + || true
}
