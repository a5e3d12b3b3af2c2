#!/bin/sh
# A real systemd as PID 1 of its own namespaces, on a copy-on-write view of this machine's files, with cgroups
# of its own below one that is made for it: nothing it does reaches the machine, and two of them do not meet.
# The network is this machine's, so that a Redis of a test can be reached. Needs root and overlayfs.
#
#   systemd-box.sh NAME PIDFILE [FROM TO]…   boots it, and runs until it is killed; binds each FROM at TO
#
# The pid of its systemd, as this machine sees it, is written to PIDFILE.
set -eu

# what would touch the kernel or devices stays off
MASKED='systemd-tmpfiles-setup.service systemd-tmpfiles-setup-dev.service systemd-sysctl.service
  systemd-udevd.service systemd-udev-trigger.service systemd-logind.service systemd-timesyncd.service
  systemd-networkd.service systemd-modules-load.service systemd-binfmt.service systemd-remount-fs.service
  dev-hugepages.mount dev-mqueue.mount sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
  proc-sys-fs-binfmt_misc.automount sys-fs-fuse-connections.mount swap.target'

# the options of a mount of cgroups that name its hierarchy
hierarchy() {
  echo "$1" | tr , '\n' | grep -vxE 'rw|ro|relatime|nosuid|nodev|noexec|nsdelegate|memory_recursiveprot|favordynmods' |
    paste -sd , -
}

if [ "$1" != --inside ]; then
  name=$1
  for mount in $(awk '$3 ~ /^cgroup2?$/ && $2 ~ "^/sys/fs/cgroup" { print $2 }' /proc/mounts); do
    mkdir "$mount/$name"
    if [ "$mount" = /sys/fs/cgroup ]; then
      for controller in memory pids cpu; do
        echo "+$controller" >"$mount/cgroup.subtree_control" || :
      done
    fi
    # a hierarchy that is not set up takes nobody
    [ ! -e "$mount/$name/cpuset.mems" ] || cat "$mount/cpuset.mems" >"$mount/$name/cpuset.mems"
    [ ! -e "$mount/$name/cpuset.cpus" ] || cat "$mount/cpuset.cpus" >"$mount/$name/cpuset.cpus"
    echo $$ >"$mount/$name/cgroup.procs"
  done
  # it does not outlive who started it
  exec setpriv --pdeathsig KILL unshare --pid --fork --kill-child --mount --uts --ipc --cgroup "$0" --inside "$@"
fi

shift
name=$1 pidfile=$2
shift 2
# seen through the old /proc, which is that of the outside
cut -d ' ' -f 4 /proc/self/stat >"$pidfile"
mount --make-rprivate /
root=$(dirname "$pidfile")/root
mkdir "$root"
mount -t tmpfs tmpfs "$root"
mkdir "$root/up" "$root/work" "$root/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$root/up,workdir=$root/work" "$root/root"
root=$root/root
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind /sys "$root/sys"
grep -E '^[^ ]+ /sys/fs/cgroup[^ ]* ' /proc/mounts | while read -r _ point type options _; do
  case $type in
    cgroup) mount -t cgroup -o "$(hierarchy "$options" | sed 's/^name=/none,name=/')" cgroup "$root$point" ;;
    cgroup2) mount -t cgroup2 cgroup2 "$root$point" ;;
    tmpfs)
      mount -t tmpfs tmpfs "$root$point"
      (cd "$point" && find . -mindepth 1 -maxdepth 1 -type d) | (cd "$root$point" && xargs -r mkdir)
      ;;
  esac
done
while [ $# -gt 1 ]; do
  if [ -d "$1" ]; then mkdir -p "$root$2"; else mkdir -p "$(dirname "$root$2")" && touch "$root$2"; fi
  mount --bind "$1" "$root$2"
  shift 2
done
mkdir -p "$root/run/lock" "$root/etc/systemd/system"
for unit in $MASKED; do ln -sf /dev/null "$root/etc/systemd/system/$unit"; done
exec chroot "$root" /usr/bin/env -i container=other PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
  /lib/systemd/systemd --system --unit=basic.target --show-status=0
