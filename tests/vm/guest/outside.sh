# What is done to the wire and to the card from outside (hand.py, through QEMU): S1 with CTS, S5 with BREAK, P4 with a card that is slow and goes.
. /bin/lib.sh
BUNDLE=/bundle SPEC=grey,320x180@15
GOOD='^$PLKTH,.*,\(OK\|SLOW\|FROZEN\|BLANK\),'
modprobe vivid n_devs=1 node_types=0x1 || fail "no vivid"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && break; sleep 0.2; done

# hand WORDS : asks hand.py, on the PCI serial port
HAND=$(ls -d /sys/bus/pci/drivers/serial/*/tty/ttyS* | head -1); HAND=/dev/${HAND##*/}
stty -F $HAND raw -echo 115200 || fail "no port to ask on"
exec 7<> $HAND
hand() { echo "$*" >&7; read -r answer <&7; case $answer in ok*) ;; *) fail "hand $*: $answer" ;; esac; }
newest() { hand newest; newest=${answer#ok }; }
seq_of() { grep '^$PLKTH' /tmp/said | tail -1 | cut -d, -f2; }
# port : what the 8250 driver counts and sees on the wire: tx, brk and the modem lines
port() { sed -n "s/^1: .*$1:\([0-9]*\).*/\1/p" /proc/tty/driver/serial; }
cts() { sed -n 's/^1: .* \([A-Z|]*\)$/\1/p' /proc/tty/driver/serial | grep -q CTS; }
frames() { set -- $(grep '"type":"health"' /tmp/json | tail -$1 | sed 's/.*"fps":\([0-9]*\)\.\{0,1\}\([0-9]\{0,1\}\).*/\1 \2/' | awk '{ n++; s += $1 * 10 + $2 } END { print int(s / n) }'); frames=$1; }

# Something happens all the time: the light goes on and off, and with such thresholds this network calls out whatever it takes each for.
light() { level=$((255 - ${level:-0})); control brightness=$level; }
busy() { control horizontal_movement=0; printf '[decision]\nenter = 0.26\nleave = 0.25\nmin_ms = 0\n' > /tmp/busy.toml; }
events() { grep -c '^$PLKTE' /tmp/said; }

section s5
hand cts high; echo 1 > /proc/sys/kernel/sysrq # the kernel obeys every key, on its console
watch_camera $CAMERA,$SPEC
until_said 2 "$GOOD"; brk=$(port brk); was=$(health uptime_s)
i=0; while [ $i -lt 5 ]; do hand break; hand type b; i=$((i + 1)); until_said 1 "$GOOD"; done # on a console: BREAK, b restarts the machine at once
got=$(($(port brk) - ${brk:-0})); hand query STATUS
hand break; hand query VERSION; until_said 2 "$GOOD"
echo "figure: S5 BREAKs that the driver counted $got of 5 ($(($(port brk) - ${brk:-0})) of 6 with the last), one process, up $was s before and $(health uptime_s) s after"
[ $got = 5 ] && [ "$(health restarts)" = 0 ] && [ $(health uptime_s) -ge $((was + 5)) ] && kill -0 $pid || fail "S5: $got BREAKs, uptime $was to $(health uptime_s)"
stopped

# A radio that is not ready: with `rtscts` nothing is sent, no frame waits, and what is kept is there when it is ready again. More happens than is kept.
section s1
busy; WITH=,rtscts watch_camera $CAMERA,$SPEC --config /tmp/busy.toml
until_said 12 "$GOOD"; frames 10; before=$frames p99=$(health p99_ms)
hand cts low; usleep 300000; cts && fail "S1: the driver still sees CTS"
# 256 events are kept, the driver takes 4 KiB, about 70 more
tx=$(port tx) began=$(now_ms) had=$(events); until [ $(events) -gt $((had + 340)) ]; do [ $(($(now_ms) - began)) -lt 300000 ] || fail "S1: $(events) events"; light; usleep 50000; done
span=$((($(now_ms) - began) / 1000)); frames 10
newest; held=$(($(port tx) - tx)) there=$newest want=$(seq_of)
echo "figure: S1 CTS low for $span s, 340 events: $held bytes sent (0), frames a second $before -> $frames tenths (at least 90 %), p99 of a frame's age $p99 -> $(health p99_ms) ms, number $want said and $there received"
[ $held = 0 ] && [ $frames -ge $((before * 90 / 100)) ] && [ $want -gt $there ] || fail "S1: CTS low"
hand cts high; began=$(now_ms)
until newest; [ $newest -ge $want ]; do [ $(($(now_ms) - began)) -lt 12000 ] || fail "S1: $newest received of $want"; usleep 20000; done
took=$(($(now_ms) - began)) held=$(($(port tx) - tx)); echo "figure: S1 drained $took ms after CTS rose (at most 2000), $held bytes (more than the driver's 4096)"
[ $took -le 2000 ] && [ $held -gt 4096 ] || fail "S1: $took ms, $held bytes"
until_said 1 "$GOOD"; stopped
# On three wires CTS hangs in the air: without `rtscts` it must mean nothing.
section s1-three-wires
hand cts low
watch_camera $CAMERA,$SPEC
until_said 3 "$GOOD"; usleep 300000; cts && fail "S1: CTS is not low"
newest; echo "figure: S1 on three wires, CTS low: number $newest received"
[ $newest -ge 3 ] || fail "S1: nothing on three wires"
stopped; hand cts high

section p4
# crc32c and crct10dif: the kernel would ask a /sbin/modprobe for them, which this guest has not.
modprobe -a crc32c_generic crct10dif_generic xhci_pci usb_storage sd_mod ext4 || fail "no card reader"
card() { for n in /sys/block/sd?; do [ -e $n ] && echo /dev/${n##*/} && return; done; }
inserted() {
  tries=300
  until [ -n "$(card)" ] && [ -b "$(card)" ] && mount -t ext4 $(card) /card 2> /tmp/mount; do
    tries=$((tries - 1)); [ $tries -gt 0 ] || { cat /tmp/mount; dmesg | tail -20; fail "P4: no card"; }; usleep 100000
  done
}
slow() { hand qmp qom-set "{\"path\":\"/objects/slow\",\"property\":\"limits\",\"value\":{\"iops-total\":$1}}"; }
dmesg -n 1 # what the kernel has to say of a dead card would fill an emulated console
mkdir /card; inserted; rm -rf /card/*; mkdir /card/box # a second boot finds the first one's
start_pings
busy; watch_camera $CAMERA,$SPEC --config /tmp/busy.toml --report file:/card/reports --blackbox /card/box
until_said 12 "$GOOD"; frames 10; before=$frames; p=0
# unaffected WHAT : frames are as many as before and pings go on. A busy host takes frames from an emulated machine too: hence not 95 %.
unaffected() {
  frames 10; echo "figure: P4 $1: frames a second $before -> $frames tenths (at least 90 %), state $(health state)"
  [ $frames -ge $((before * 90 / 100)) ] || fail "P4: $frames of $before"
  pinged P4 4
}
slow 1; until_said 12 "$GOOD"; unaffected "a card of one write a second"
hand qmp device_del '{"id":"stick"}'; at=$(now_ms)
until grep -q 'reports are lost' /tmp/log; do [ $(($(now_ms) - at)) -lt 60000 ] || { cat /tmp/log; fail "P4: not said that the card is gone"; }; sleep 0.2; done
echo "figure: P4 the card pulled out: said $(($(now_ms) - at)) ms after (at most 40000: files are synced every 30 s)"
[ $(($(now_ms) - at)) -le 40000 ] || fail "P4: said too late"
until_said 10 "$GOOD"; unaffected "the card pulled out"
tries=100; until umount /card 2> /tmp/mount; do tries=$((tries - 1)); [ $tries -gt 0 ] || { ls -l /proc/$pid/fd; fail "P4: the dead card is held"; }; usleep 100000; done
until_said 6 "$GOOD"
slow 0; hand qmp device_add '{"driver":"usb-storage","drive":"card","id":"stick","bus":"usb.0"}'
inserted; back=$(now_ms); had=$(grep -c PLKTH /card/reports); clips=$(ls /card/box/*.lkb 2> /dev/null | wc -l)
until [ $(grep -c PLKTH /card/reports) -gt $had ]; do [ $(($(now_ms) - back)) -lt 20000 ] || { cat /tmp/log; fail "P4: no report on the card that came back"; }; usleep 20000; done
took=$(($(now_ms) - back)); echo "figure: P4 reports on the card again $took ms after it was mounted (at most 7000: tried every 5 s)"
[ $took -le 7000 ] || fail "P4: $took ms"
tries=300; until [ $(ls /card/box/*.lkb 2> /dev/null | wc -l) -gt $clips ]; do tries=$((tries - 1)); [ $tries -gt 0 ] || { cat /tmp/log; fail "P4: no clip on the card that came back"; }; usleep 100000; done
echo "figure: P4 clips on the card: $clips when it came back, $(ls /card/box/*.lkb | wc -l) now"
# each cause once a minute, and its end
sed -n 's/.*complaint\] //p' /tmp/log | sort | uniq -c | while read -r n what; do
  echo "figure: P4 the log says $n times (at most $((1 + ($(now_ms) - watched) / 60000))): $what"
  [ $n -le $((1 + ($(now_ms) - watched) / 60000)) ] || { cat /tmp/log; exit 1; }
done || fail "P4: said too often"
grep -q '/card/reports: written again' /tmp/log || fail "P4: its end is not said"
stopped; umount /card
section end
