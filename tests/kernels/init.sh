#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The guest's first process: mounts what a system has, runs the script that the host packed with the checkout, hands
# the report out through the first virtio port and switches the machine off.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 TERM=dumb
# A sample of the kills: everything is some 10 to 20 times slower here.
export PODWIRE_KILL_STRIDE=25
export HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis

busybox mount -t proc proc /proc
busybox mount -t sysfs sys /sys
busybox mount -t devtmpfs dev /dev
mkdir -p /dev/pts /dev/shm /run /tmp /results
busybox mount -t devpts devpts /dev/pts
busybox mount -t tmpfs tmpfs /dev/shm
busybox mount -t tmpfs run /run
busybox mount -t tmpfs tmp /tmp
busybox mount -t cgroup2 cgroup /sys/fs/cgroup
ln -sf /proc/self/fd /dev/fd
exec </dev/null >/dev/console 2>&1

hostname guest
modprobe -a virtio_pci virtio_console veth bridge nf_tables nft_masq nft_nat nft_ct nft_chain_nat sctp 2>&1
ip link set lo up
echo "podwire guest: Linux $(uname -r), $(python3 --version)"

cd /podwire || exit 1
sh /run-tests
echo $? >/results/status

for port in /dev/vport*p1; do
  tar -C /results -cf "$port" .
done
sync
echo "podwire guest: done"
busybox reboot -f
