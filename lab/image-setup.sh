#!/bin/sh
# mmdebstrap's customise hook: what every host of the lab has before anything of the application is there.
set -eu
root=$1

chroot "$root" groupadd --gid 4999 ocf
chroot "$root" groupadd --gid 4998 ocfapphost

# OCF's homes are /home/FIRST/FIRST-TWO/NAME on a shared file system: they are laid into the lab's /home, not here.
for account in hkn:5000:/home/h/hk/hkn otherorg:5001:/home/o/ot/otherorg git:5002:/srv/git; do
    name=${account%%:*} rest=${account#*:}
    chroot "$root" useradd --no-create-home --uid "${rest%%:*}" --user-group --shell /bin/bash \
        --home-dir "${rest#*:}" "$name"
    # '*' allows keys and no password; useradd's own '!' would read as a locked account to sshd.
    chroot "$root" usermod --password '*' "$name"
done
install -d -m 0755 "$root/srv/apps" "$root/etc/ssh/keys" "$root/var/lib/systemd/linger"
for name in hkn otherorg; do
    chroot "$root" usermod --append --groups ocfapphost,ocf "$name"
    : >"$root/var/lib/systemd/linger/$name"
    chroot "$root" install -d -m 0755 -o "$name" -g ocf "/srv/apps/$name"
done
chroot "$root" install -d -m 0755 -o git -g git /srv/git

# Keys outside the home are the lab's; the usual place stays open for what the application's people put there.
cat >"$root/etc/ssh/sshd_config.d/lab.conf" <<'SSHD'
AuthorizedKeysFile /etc/ssh/keys/%u .ssh/authorized_keys
HostKey /etc/ssh/ssh_host_ed25519_key
PasswordAuthentication no
KbdInteractiveAuthentication no
UseDNS no
MaxStartups 200:30:400
MaxSessions 100
SSHD
rm -f "$root"/etc/ssh/ssh_host_*

# The real hosts hide other users' processes from everybody but root.
cat >"$root/etc/systemd/system/hidepid.service" <<'UNIT'
[Unit]
Description=Own processes only in /proc
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/mount -o remount,hidepid=2 /proc

[Install]
WantedBy=sysinit.target
UNIT

chroot "$root" systemctl --quiet enable systemd-networkd.service hidepid.service
# unicorn.service of Debian's package fails without a configuration, and the host would count as degraded; the
# rest would only make noise in a host without a way to the internet.
chroot "$root" systemctl --quiet mask unicorn.service apt-daily.timer apt-daily-upgrade.timer \
    systemd-networkd-wait-online.service logrotate.timer e2scrub_all.timer fstrim.timer dpkg-db-backup.timer
rm -f "$root/etc/machine-id" "$root/etc/resolv.conf" "$root/etc/hostname"
: >"$root/etc/machine-id"
: >"$root/etc/resolv.conf"
rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
