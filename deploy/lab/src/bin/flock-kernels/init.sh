#!/bin/busybox sh
# A guest's first process: modules, the host's files read-only under an overlay, and the host's script in there.
/bin/busybox --install -s /bin
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev

end() {
    [ $# -eq 0 ] || echo "flock: $*"
    poweroff -f
}

for module in /modules/*; do
    insmod "$module" 2>/tmp/error || echo "flock: $module: $(cat /tmp/error)"
done

mount -t 9p -o trans=virtio,version=9p2000.L,ro,msize=262144,cache=loose host /host || end "no files of the host"
mount -t tmpfs -o size=75% over /over
mkdir /over/upper /over/work
mount -t overlay -o lowerdir=/host,upperdir=/over/upper,workdir=/over/work overlay /root || end "no overlay"
for folder in proc sys dev; do
    mount --bind "/$folder" "/root/$folder"
done
mkdir -p /root/dev/pts /root/dev/shm
mount -t devpts devpts /root/dev/pts
mount -t tmpfs shm /root/dev/shm
mount -t tmpfs run /root/run
# The host's /tmp stays in sight: the checkout may be there.
mkdir /root/run/flock
mount -t 9p -o trans=virtio,version=9p2000.L,msize=262144 flock /root/run/flock || end "nowhere to write to"
ip link set lo up
echo "flock: up after $(cut -d' ' -f1 /proc/uptime) s"
chroot /root /bin/bash /run/flock/run.sh </dev/null
sync
end
