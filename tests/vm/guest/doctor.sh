# `lookout doctor` on a machine that is broken in one way at a time: one sentence names it, another says what to do, the exit code is right.
# Given: /ko/gpio-sim.ko, /bundle. The figures are those sentences.
. /bin/lib.sh
modprobe vivid n_devs=1 node_types=0x1 || fail "no vivid"
insmod /ko/gpio-sim.ko || fail "no gpio-sim"
lab=/sys/kernel/config/gpio-sim/lab; mkdir -p $lab/bank0; echo 4 > $lab/bank0/num_lines; echo lab > $lab/bank0/label; echo 1 > $lab/live
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && break; sleep 0.2; done
chip=/dev/$(cat $lab/bank0/chip_name) user=root
printf 'root::0:0::/:/bin/sh\ntech::1000:1000::/tmp:/bin/sh\n' > /etc/passwd
printf 'root:x:0:\ndialout:x:20:\nvideo:x:44:\ngpio:x:60:\ntech:x:1000:\n' > /etc/group
section doctor

# asked CODE BROKEN CONFIG... : doctor, as $user, must end in CODE with BROKEN things to fix
asked() {
  local code want=$1 broken=$2; shift 2; printf '%s\n' "$@" > /tmp/doctor.toml
  timeout 60 su $user -s /bin/sh -c "PATH=/bin lookout doctor --json --config /tmp/doctor.toml" > /tmp/out 2>&1; code=$?
  [ $code = $want ] && grep -q "^{\"broken\":$broken,\"code\":$want," /tmp/out || { grep -v '"do":null' /tmp/out; fail "doctor: exit code $code, expected $want and $broken things to fix"; }
}
# says LEVEL WORDS DO : one finding of this level has WORDS, and DO in what to do
says() {
  local n=$(grep "\"level\":\"$1\"" /tmp/out | grep -c "\"do\":\"[^{]*$3.*\"says\":\"[^{]*$2")
  [ $n = 1 ] || { grep -v '"do":null' /tmp/out; fail "doctor: $n sentences of level $1 with '$2' and '$3', expected 1"; }
  echo "figure: doctor $(grep "\"says\":\"[^{]*$2" /tmp/out | sed 's/.*"do":"\(.*\)","level":"\([a-z]*\)".*"says":"\(.*\)"}$/(\2) \3 -> \1/')"
}
camera="source = \"v4l2:$CAMERA\"" bundle='bundle = "/bundle"' report="report = [\"serial:$WIRE\"]" both="report = [\"serial:$WIRE\", \"gpio\"]"
config() { asked $1 $2 "$bundle" "$camera" "$report" "$3"; } # the usual one, and one key more

config 0 0
# the camera
v4l2-ctl -d $CAMERA --stream-mmap > /dev/null 2>&1 & other=$!; sleep 1
config 0 0; says note '`v4l2-ctl` (process' 'stop that program'
kill $other; wait $other
camera='source = "v4l2:/dev/video9"'; config 1 1; says broken 'no camera: /dev/video9 is not there' 'say which camera'
camera="source = \"v4l2:$CAMERA,mjpg\""; config 2 1; says broken 'gives YUYV, NV12, GREY of what lookout reads, and is asked for MJPG' 'name one of the former'
camera="source = \"v4l2:$CAMERA,h264\""; config 2 1; says broken 'h264.. is neither a format' 'correct `source`'
camera="source = \"v4l2:$CAMERA,yuyv,8000x6000@30\""; config 0 0; says note 'asked for 8000x6000@30, and its nearest is YUYV 3840x2160@' 'ask for one of the sizes'
camera="source = \"v4l2:$CAMERA\""
# ports and lines
report='report = ["serial:/dev/ttyS0"]'; config 1 1; says broken '/dev/ttyS0 is the kernel.s console' 'console=ttyS0'
report='report = ["serial:/dev/ttyUSB7"]'; config 1 1; says broken '/dev/ttyUSB7 is not there' 'plug the adapter in'
report=$both; config 1 1 'gpio = { chip = "gone", heartbeat = 0 }'; says broken 'no GPIO chip called gone' 'name a chip listed here'
config 0 0 'gpio = { chip = "lab", heartbeat = 0 }'
for base in /sys/class/gpio/gpiochip*; do [ "$(cat $base/label)" = lab ] && cat $base/base > /sys/class/gpio/export; done
config 1 1 'gpio = { chip = "lab", heartbeat = 0 }'; says broken 'line offset 0, meant for heartbeat, is held by ..sysfs' 'end that program'
config 0 0 'gpio = { chip = "lab", heartbeat = 1 }'
# two chips of one label: as for `run`, the one that has the named lines, and else neither
twin=/sys/kernel/config/gpio-sim/twin; mkdir -p $twin/bank0/line1; echo 4 > $twin/bank0/num_lines; echo lab > $twin/bank0/label; echo B > $twin/bank0/line1/name; echo 1 > $twin/live
config 0 0 'gpio = { chip = "lab", heartbeat = "B" }'; grep -q "reports need is free, on /dev/$(cat $twin/bank0/chip_name)" /tmp/out || { cat /tmp/out; fail "doctor: the chip that has the line"; }
config 2 1 'gpio = { chip = "lab", heartbeat = 1 }'; says broken 'are both called so' 'name the lines by their names'
echo 0 > $twin/live; rmdir $twin/bank0/line1 $twin/bank0 $twin
# rights: as the kernel makes the nodes, as udev makes them by board/udev's rules, and as a member of the groups
user=tech; config 1 3 'gpio = { chip = "lab", heartbeat = 1 }'
for device in $CAMERA $WIRE $chip; do says broken "$device: tech may not use it (owner root, group root, mode 600)" 'install board/udev/99-lookout.rules'; done
mkdir -p /run; /lib/systemd/systemd-udevd --daemon || fail "no udev"
udevadm trigger -c add -s video4linux -s tty -s gpio; udevadm settle -t 100 || fail "udev does not come to an end"
for device in video4linux/video0 tty/ttyS1 gpio/${chip#/dev/}; do udevadm test /sys/class/$device; done > /tmp/udev 2>&1
grep '99-lookout.rules.*\(nvalid\|nknown\|gnoring\)' /tmp/udev && fail "udev does not take the rules"
config 1 3 'gpio = { chip = "lab", heartbeat = 1 }'
for pair in $CAMERA:video $WIRE:dialout $chip:gpio; do says broken "${pair%:*}: tech may not use it (owner root, group ${pair#*:}, mode 660)" "sudo usermod -aG ${pair#*:} tech"; done
sed -i 's/^\(dialout\|video\|gpio\):.*:$/&tech/' /etc/group; config 0 0 'gpio = { chip = "lab", heartbeat = 1 }'
user=root report="report = [\"serial:$WIRE\"]"
# names that stay: the camera's, and that of an adapter which comes back under another number
adapter; insert; udevadm settle -t 60; exec 8< /dev/$(port); was=$(port); first=$(readlink -f /dev/lookout/serial); pull; udevadm settle -t 60
[ ! -e /dev/lookout/serial ] || fail "udev: /dev/lookout/serial outlives the adapter"
insert; udevadm settle -t 60
for pair in lookout/camera:video0 v4l/by-path/platform-vivid.0-video-index0:video0 lookout/serial:$(port) serial/by-id/usb-lab_adapter_7-if00:$(port); do
  [ "$(readlink -f /dev/${pair%:*})" = /dev/${pair#*:} ] || { ls -lR /dev/lookout /dev/v4l /dev/serial; fail "udev: /dev/${pair%:*} is no name of ${pair#*:}"; }
done
[ $first = /dev/$was ] && [ $(port) != $was ] || fail "udev: $first, $was, $(port)"
udevadm info -q property /dev/$(port) | grep -q '^ID_MM_DEVICE_IGNORE=1$' || fail "udev: ModemManager would ask the adapter"
echo "figure: udev /dev/lookout/serial was $was, gone while pulled out, then $(port), $(stat -c '%U:%G %a' /dev/$(port)); /dev/lookout/camera video0"
[ "$(stat -c '%G %a' /dev/$(port))" = "dialout 660" ] || fail "udev: the adapter's rights"
report='report = ["serial:/dev/lookout/serial"]'; config 0 0; grep -q '"/dev/'$(port)' is there and free, reports go to it"' /tmp/out || { cat /tmp/out; fail "doctor: the adapter by its lasting name"; }
exec 8<&-; report="report = [\"serial:$WIRE\"]"
# the state folder
mkdir /full /fixed; mount -t tmpfs -o size=32m full /full; mount -t tmpfs -o ro fixed /fixed
config 0 0 'state = "/full"'; dd if=/dev/zero of=/full/big bs=1M 2> /dev/null
config 0 0 'state = "/full"'; says note '/full has 0 MiB left, an install may need' 'delete what nobody needs'
config 0 0 'state = "/fixed"'; says note '/fixed is on a disk that is mounted read-only' 'look at `dmesg`'
# bundles
bundle='bundle = "/nowhere"'; config 2 1; says broken '/nowhere' 'leave `bundle` out'
bundle=; lookout install /bundle --state /tmp/state > /tmp/log 2>&1 || { cat /tmp/log; fail "install"; }
config 0 0 'state = "/tmp/state"'
for file in $(find /tmp/state -name head.onnx); do printf damaged | dd of=$file bs=1 seek=200 conv=notrunc 2> /dev/null; done
config 0 0 'state = "/tmp/state"'; says note 'head.onnx' '`lookout install` it once more'
bundle='bundle = "/bundle"'
# what starts it, what starts the machine, and the clock
grep -q 'not installed as a service' /tmp/out || fail "doctor: nothing about a service"
mkdir -p /etc/systemd/system; unit=/etc/systemd/system/lookout.service
printf '[Service]\nExecStart=/bin/lookout run\n' > $unit; config 0 0; says note 'has no WatchdogSec: a hang would not be noticed' 'board/systemd/lookout.service'
printf 'WatchdogSec=4\n' >> $unit; config 0 0; says note 'the machine has none: should all of it hang' 'RuntimeWatchdogSec=30s'
modprobe softdog; config 0 0; says note 'Software Watchdog is there and nobody feeds it' 'RuntimeWatchdogSec=30s'
watchdog -F -t 5 -T 60 /dev/watchdog & feeder=$!; sleep 1; config 0 0; grep -q 'Software Watchdog resets the machine' /tmp/out || { grep -v '"do":null' /tmp/out; fail "doctor: a watchdog that is fed"; }
kill $feeder
# The kernel takes no time before the machine was switched on, as seen from 1970.
now=$(date +%s); date -s @$(($(now_ms) / 1000 + 60)) > /dev/null; [ "$(date +%Y)" = 1970 ] || fail "no 1970"; config 0 0; says note 'it says 1970, so it was never set' 'timedatectl set-ntp'
date -s @$now > /dev/null
ends 2 "kernel's console" run --source v4l2:$CAMERA --report serial:/dev/ttyS0
echo "figure: S5 the kernel's console refused as a port, exit code 2"
section end
