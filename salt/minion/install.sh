#!/bin/sh
# Makes a host a minion. metis.bootstrap writes the values before it, the key pair among them, and
# runs it over ssh: MASTER, MASTER_PORT, MASTER_KEY, ID, PUBLIC, PRIVATE, VERSION, SOURCE, PROMPT.
set -eu
# Whoever may not be root becomes it, with this very file, which holds a private key and goes first.
if [ "$(id -u)" -ne 0 ]; then
    exec sudo -p "$PROMPT" /bin/sh "$0"
fi
rm -f -- "$0"
umask 077
said=$(mktemp)
trap 'rm -f -- "$said"' EXIT

fail() {
    echo "metis: $*"
    exit 1
}

# A host that does not come to an end is given up, and says what was said last.
packages() {
    DEBIAN_FRONTEND=noninteractive timeout 900 apt-get -q -y -o DPkg::Lock::Timeout=120 \
        -o Acquire::Retries=2 -o Acquire::http::Timeout=30 -o Dpkg::Use-Pty=0 \
        -o Dpkg::Options::=--force-confold "$@" >"$said" 2>&1 </dev/null ||
        fail "apt-get $1: $(grep -E '^(E:|Err)' "$said" | tail -n 2 | tr '\n' ' ' | grep . ||
            tail -n 1 "$said")"
}

# Everything that the minion reads is there before it is installed, as that starts it.
install -d -m 0755 /etc/salt /etc/salt/minion.d
install -d -m 0700 /etc/salt/pki /etc/salt/pki/minion
rm -f /etc/salt/pki/minion/minion.pem
printf '%s\n' "$PRIVATE" >/etc/salt/pki/minion/minion.pem
chmod 0400 /etc/salt/pki/minion/minion.pem
printf '%s\n' "$PUBLIC" >/etc/salt/pki/minion/minion.pub
# It knows its master from the first word on.
printf '%s\n' "$MASTER_KEY" >/etc/salt/pki/minion/minion_master.pub
chmod 0644 /etc/salt/pki/minion/minion.pub /etc/salt/pki/minion/minion_master.pub
cat >/etc/salt/minion.d/metis.conf <<END
# Written by metis.bootstrap.
master: $MASTER
master_port: $MASTER_PORT
id: $ID
# Where no name server knows the hosts, looking for their names takes long.
enable_fqdns_grains: False
END
chmod 0644 /etc/salt/minion.d/metis.conf
if [ -n "$SOURCE" ]; then
    printf '%s\n' "$SOURCE" >/etc/apt/sources.list.d/salt.sources
    chmod 0644 /etc/apt/sources.list.d/salt.sources
fi

packages update
packages install --no-install-recommends "salt-minion=$VERSION*"
systemctl enable --quiet salt-minion || fail "salt-minion is not enabled"
systemctl restart salt-minion ||
    fail "salt-minion does not start: $(journalctl -u salt-minion -n 1 -o cat)"
