# W3: the machine hangs, the hardware watchdog (i6300esb) resets it, and it reports again. Runs twice: /dev/vda remembers when it hung.
. /bin/lib.sh
BUNDLE=/bundle
modprobe virtio_pci && modprobe virtio_blk || fail "no disk"
modprobe i6300esb heartbeat=10 || fail "no watchdog"
modprobe vivid n_devs=1 node_types=0x1 || fail "no vivid"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && [ -b /dev/vda ] && break; sleep 0.2; done
hung=$(head -c 10 /dev/vda | tr -d '\0')
# Stands for systemd, which feeds the hardware while it is itself alive (RuntimeWatchdogSec=10).
watchdog -F -t 2 -T 10 /dev/watchdog & feeder=$!
if [ -z "$hung" ]; then
  section w3
  watch_camera $CAMERA,grey,320x180@15
  until_said 2 '^$PLKTH,.*,\(OK\|SLOW\|FROZEN\),'
  date +%s | dd of=/dev/vda conv=notrunc 2> /dev/null; sync
  echo "hangs at $(date +%s)"
  kill -STOP $feeder $pid
  sleep 60; fail "W3: not reset within 60 s"
fi
section w3-again
watch_camera $CAMERA,grey,320x180@15
until_said 1 '^$PLKTH,.*,\(OK\|SLOW\|FROZEN\),'
took=$(($(date +%s) - hung))
echo "figure: W3 reports again $took s after the machine hung, 10 s of them the watchdog's (at most 60)"
[ $took -le 60 ] || fail "W3: $took s"
until_said 2 '^$PLKTH,.*,\(OK\|SLOW\|FROZEN\),'
stopped
kill $feeder # the driver is asked politely to stop, or the way out would be another reset
section end
