# Camera faults that vivid can make, each with its figure (tests/FAULTS.md). /cycles, /jumps, /silence: see run.sh.
. /bin/lib.sh
CYCLES=$(cat /cycles) JUMPS=$(cat /jumps) SILENCE=$(cat /silence)
BUNDLE=/bundle
SPEC=grey,320x180@15
FRESH='^$PLKTH,.*,\(OK\|WARMING\|SLOW\|FROZEN\)'
# node_of NUMBER : the capture node of vivid's camera NUMBER, which has a name that stays
node_of() { for n in /sys/class/video4linux/*; do [ "$(cat $n/name)" = vivid-$1-vid-cap ] && echo ${n##*/}; done; }
load() { modprobe -r vivid 2> /dev/null; modprobe vivid "$@" || fail "no vivid"; for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && break; sleep 0.2; done; [ -c $CAMERA ] || fail "no $CAMERA"; }
load n_devs=1 node_types=0x1

section c1
start_pings
watch_camera $CAMERA,$SPEC
until_said 3 '^$PLKTH,.*,OK,'
for i in 1 2 3; do mark; unplug; until_said 1 '^$PLKTH,.*,NO CAMERA,'; plug; until_said 1 '^$PLKTH,.*,OK,'; done
before; worst_notice=0 worst_resume=0 i=0
while [ $i -lt $CYCLES ]; do
  mark; unplug; within 1000 C1 noticed '^$PLKTH,.*,NO CAMERA,' > /tmp/figure; [ $took -gt $worst_notice ] && worst_notice=$took
  mark; plug; within 2000 C1 resumed "$FRESH" > /tmp/figure; [ $took -gt $worst_resume ] && worst_resume=$took
  i=$((i + 1))
done
echo "figure: C1 $CYCLES cycles, noticed within $worst_notice ms (at most 1000), resumed within $worst_resume ms (at most 2000)"
until_said 2 '^$PLKTH,.*,OK,'
same C1
said_once C1 'unplugged'
mark; unplug; within 1000 C1 noticed '^$PLKTH,.*,NO CAMERA,'; idle_cpu C1 4; pinged C1 4; plug
until_said 1 '^$PLKTH,.*,OK,'
stopped

section c2
watch_camera $CAMERA,$SPEC
until_said 3 '^$PLKTH,.*,OK,'; before
# From when the driver has been told: on an emulated processor v4l2-ctl itself takes up to half a second.
control percentage_of_dropped_buffers=100; mark; within 1500 C2 noticed '^$PLKTH,.*,NO FRAMES,'
idle_cpu C2 6; pinged C2 $((SILENCE - 6))
mark; control percentage_of_dropped_buffers=0; within 2000 C2 resumed "$FRESH"
until_said 2 '^$PLKTH,.*,OK,'; same C2; said_once C2 'gives no frames'
stopped

section c3
watch_camera $CAMERA,grey,320x180@5
until_said 3 '^$PLKTH,.*,OK,'
i=0; while [ $i -lt 12 ]; do control inject_v4l2_buf_flag_error=1; usleep 450000; i=$((i + 1)); done
until_said 2 '^$PLKTH,.*,OK,'
echo "figure: C3 12 flagged one by one, $(health damaged) counted (12)"
[ "$(health damaged)" = 12 ] || fail "C3: damaged $(health damaged)"
mark; ( while [ -e /proc/self ]; do v4l2-ctl -d $CAMERA -c inject_v4l2_buf_flag_error=1 || exit; done ) & presser=$!
until_said 2 '^$PLKTH,.*,DAMAGED,0.0,'
echo "figure: C3 all flagged: state DAMAGED, frames to the model 0.0 a second, $(health damaged) damaged"
kill $presser; mark; within 2000 C3 resumed "$FRESH"
until_said 1 '^$PLKTH,.*,OK,'
stopped

section c4
watch_camera $CAMERA,$SPEC
until_said 3 '^$PLKTH,.*,OK,'; before
for i in 1 2 3 4 5; do
  mark; control inject_fatal_streaming_error=1; within 1000 C4 noticed '^$PLKTH,.*,STREAM BROKE,'; within 2000 C4 resumed "$FRESH"
  until_said 1 '^$PLKTH,.*,OK,'
done
same C4; said_once C4 'stream broke'
stopped

section c5
watch_camera $CAMERA,$SPEC
until_said 2 '^$PLKTH,.*,OK,'
for call in reqbufs streamon qbuf; do
  [ $call = qbuf ] && { mark; control inject_vidioc_qbuf_error=1; } ||
    { control inject_vidioc_${call}_error=1; mark; control inject_fatal_streaming_error=1; }
  within 2000 C5 "$call refused" '^$PLKTH,.*,CAMERA ERROR,'
  within 5000 C5 "$call resumed (again after 2 s)" "$FRESH"
  until_said 1 '^$PLKTH,.*,OK,'
done
grep 'the driver refused' /tmp/log | sed 's/^/   /'
stopped
v4l2-ctl -d $CAMERA --stream-mmap > /dev/null 2>&1 & other=$!
sleep 1
# asked_again WHAT : the camera was refused three times or more, and no two tries began closer than 2 s; they are refused somewhere within
asked_again() {
  local least=$(awk 'NR > 1 && (!l || $1 - was < l) { l = $1 - was } { was = $1 } END { print l + 0 }' /tmp/refused) n=$(wc -l < /tmp/refused)
  echo "figure: C5 $1 refused $n times, the closest two $least ms apart (2000, at least 1800)"
  [ $n -ge 3 ] && [ $least -ge 1800 ] || { cat /tmp/refused; fail "C5: $1 asked again after $least ms"; }
}
export LD_PRELOAD=/lib/refuse.so # writes down when the camera was refused
watch_camera $CAMERA,$SPEC --wait
unset LD_PRELOAD
until_said 1 '^$PLKTH,.*,CAMERA BUSY,'; sleep 5
said_once C5 'another program is reading this camera'; asked_again busy
mark; kill $other; within 3000 C5 "busy resumed" "$FRESH"
stopped
export LD_PRELOAD=/lib/refuse.so; touch /tmp/refuse; rm /tmp/refused # STREAMON: ENOSPC
watch_camera $CAMERA,$SPEC
unset LD_PRELOAD
until_said 2 '^$PLKTH,.*,NO BANDWIDTH,'; sleep 4
said_once C5 'the USB bus has no bandwidth left'; asked_again "no bandwidth"
mark; rm /tmp/refuse; within 3000 C5 "no bandwidth resumed" "$FRESH"
stopped

section c9
watch_camera $CAMERA,$SPEC
until_said 2 '^$PLKTH,.*,OK,'; stopped
control wrap_sequence_number=1
for stamp in 0 1 2; do
  v4l2-ctl -d $CAMERA -c wrap_timestamp=$stamp
  watch_camera $CAMERA,$SPEC
  # 128 frames to the wrap of the number, about 9 s; the driver's stamps wrap 16 s after the start.
  long=12; [ $stamp = 0 ] || long=22
  until_said $long '^$PLKTH,.*,\(OK\|SLOW\),'
  # An emulated driver loses a frame now and then; a wrap that is misread is four billion.
  echo "figure: C9 number wrapped, stamps of kind $stamp: lost $(health lost) (below 40), disordered $(health disordered) (0)"
  [ "$(health lost)" -lt 40 ] && [ "$(health disordered)" = 0 ] || fail "C9: lost $(health lost), disordered $(health disordered)"
  stopped
done
control wrap_sequence_number=0; control wrap_timestamp=0

section c10
watch_camera $CAMERA,$SPEC
until_said 2 '^$PLKTH,.*,OK,'
mark; control osd_text_mode=2; within 10000 C10 frozen '^$PLKTH,.*,FROZEN,'
control osd_text_mode=0; until_said 1 '^$PLKTH,.*,OK,'
control osd_text_mode=2; mark; control brightness=0,contrast=0; within 10000 C10 blank '^$PLKTH,.*,BLANK,'
control osd_text_mode=0; control brightness=128,contrast=128; until_said 1 '^$PLKTH,.*,OK,'
stopped
kill $manager; unset NOTIFY_SOCKET

section t1
watch_camera $CAMERA,$SPEC
until_said 3 '^$PLKTH,.*,OK,'; said0=$(wc -l < /tmp/said) at=$(now_ms) i=0
while [ $i -lt $JUMPS ]; do
  # The kernel takes no time before the machine was switched on, as seen from 1970, and busybox's date says so with exit code 0.
  for when in @$(($(now_ms) / 1000 + 60)) '2038-01-19 03:14:07' '2106-02-07 06:28:15' '2026-03-29 00:59:59' '2026-10-25 00:59:59'; do
    date -s "$when" > /tmp/date 2>&1 && ! grep -q "can't set" /tmp/date || { cat /tmp/date; fail "T1: date"; }; usleep 200000
  done
  i=$((i + 1))
done
span=$(($(now_ms) - at)); sleep 1
n=$(tail -n +$((said0 + 1)) /tmp/said | grep -c '^$PLKTH'); bad=$(tail -n +$((said0 + 1)) /tmp/said | grep '^$PLKTH' | grep -vc ',OK,\|,SLOW,')
echo "figure: T1 $((JUMPS * 5)) jumps of the wall clock in $span ms: $n health lines, $bad of them not OK (0)"
[ $bad = 0 ] && [ $n -ge $((span / 1000 - 1)) ] || { tail -n +$((said0 + 1)) /tmp/said; fail "T1: $n health lines in $span ms, $bad not OK"; }
stopped

section t2
watch_camera $CAMERA,$SPEC
until_said 8 '^$PLKTH,.*,OK,'; p50=$(health p50_ms)
mkdir -p /tmp/cg && mount -t cgroup2 none /tmp/cg && echo +cpu > /tmp/cg/cgroup.subtree_control && mkdir /tmp/cg/box || fail "T2: no cgroup"
echo "30000 100000" > /tmp/cg/box/cpu.max; echo $pid > /tmp/cg/box/cgroup.procs
# Half the minute that the percentiles look back on, so that the median is of the throttled time.
until_said 40 '^$PLKTH,'
echo "figure: T2 at 30 % of an (emulated) core the median age is $(health p50_ms) ms, $p50 before (at most 200 + 4 x $p50), state $(health state)"
[ $(health p50_ms) -le $((200 + 4 * p50)) ] || fail "T2: $(health p50_ms) ms"
echo "2000 100000" > /tmp/cg/box/cpu.max; mark; within 20000 T2 "at 2 %, said" '^$PLKTH,.*,SLOW,'
echo max > /tmp/cg/box/cpu.max; until_said 2 '^$PLKTH,.*,OK,'
stopped

# another camera under the same name, of another size, and numbers that change places
load n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,3 ccs_cap_mode=-1,0
LINK=/tmp/by-path; link() { ln -sfn /dev/$(node_of $1) /tmp/new; mv -T /tmp/new $LINK; }
section c6
link 000
watch_camera $LINK,$SPEC
until_said 2 '^$PLKTH,.*,OK,'; before
link 001; mark; v4l2-ctl -d /dev/$(node_of 000) -c inject_fatal_streaming_error=1
within 1000 C6 noticed '^$PLKTH,.*,STREAM BROKE,'; within 2000 C6 "resumed at another size" "$FRESH"
until_said 2 '^$PLKTH,.*,\(OK\|FROZEN\|SLOW\),'; grep 'source:' /tmp/log | sed 's/^/   /'
grep -q "source: .* 1280x720" /tmp/log || fail "C6: the size did not change"
f=$(fds); echo "figure: C6 descriptors $fds0 -> $f (within 1)"
[ $((f - fds0)) -le 1 ] && [ $((f - fds0)) -ge -1 ] || fail "C6: descriptors $fds0 -> $f"
stopped

section c7
link 000; right=0 i=0 swaps=0
watch_camera $LINK,$SPEC
until_said 2 '^$PLKTH,.*,\(OK\|SLOW\),'
while [ $i -lt $CYCLES ]; do
  was=$(node_of 000); exec 9< /dev/$was # somebody keeps the old node, so its number is taken
  rm $LINK; mark; unplug; within 1000 C7 noticed '^$PLKTH,.*,NO CAMERA,' > /tmp/figure
  plug; mark; link 000; within 2000 C7 resumed "$FRESH" > /tmp/figure
  now=$(node_of 000); [ $now = $was ] || swaps=$((swaps + 1))
  ls -l /proc/$pid/fd | grep -q "/dev/$now\$" && right=$((right + 1)); exec 9<&-
  i=$((i + 1))
done
echo "figure: C7 right camera $right of $CYCLES ($CYCLES), its number changed $swaps times"
[ $right = $CYCLES ] && [ $swaps -gt 0 ] || fail "C7: right $right of $CYCLES, $swaps changes"
stopped

# A heartbeat line on a real GPIO driver, and a process that is killed or stopped with it.
load n_devs=1 node_types=0x1
section g1
insmod /ko/gpio-sim.ko || fail "no gpio-sim"
lab=/sys/kernel/config/gpio-sim/lab; mkdir -p $lab/bank0; echo 4 > $lab/bank0/num_lines; echo lab > $lab/bank0/label; echo 1 > $lab/live
value=/sys/devices/platform/$(cat $lab/dev_name)/$(cat $lab/bank0/chip_name)/sim_gpio0/value
printf 'heartbeat_s = 1\n[gpio]\nchip = "lab"\nheartbeat = 0\n' > /tmp/lookout.toml
edges() { # edges MS : changes of the line in that time
  local until=$(($(now_ms) + $1)) last=$(cat $value) n=0 v
  while [ $(now_ms) -lt $until ]; do read v < $value; [ $v = $last ] || { n=$((n + 1)); last=$v; }; usleep 20000; done
  edges=$n
}
for signal in STOP KILL; do
  watch_camera $CAMERA,$SPEC --config /tmp/lookout.toml --report gpio
  until_said 3 '^$PLKTH,.*,\(OK\|SLOW\|FROZEN\),'
  edges 5000; alive=$edges; kill -$signal $pid; usleep 1900000; edges 3000
  echo "figure: G1 heartbeat edges in 5 s at work $alive (2 or more), from 2 s after SIG$signal on $edges (0)"
  [ $alive -ge 2 ] && [ $edges = 0 ] || fail "G1: $alive and $edges edges"
  kill -KILL $pid; wait $pid
done

# A real USB serial adapter (cdc-acm over dummy_hcd) that comes back under another name.
section s2
adapter; mkdir -p /dev/serial/by-id
named() { ln -sfn /dev/$(port) /dev/serial/by-id/usb-lab; } # as udev does
insert; named; stty -F /dev/ttyGS0 raw -echo
( while :; do cat /dev/ttyGS0 >> /tmp/far 2> /dev/null; usleep 20000; done ) & reader=$!
watch_camera $CAMERA,$SPEC --report serial:/dev/serial/by-id/usb-lab
until_said 3 '^$PLKTH,.*,\(OK\|SLOW\|FROZEN\),'
grep -q PLKTH /tmp/far || fail "S2: nothing over USB"
worst=0 names= i=0
while [ $i -lt 5 ]; do
  exec 8< /dev/$(port); pull; rm /dev/serial/by-id/usb-lab; usleep $((i * 700000))
  insert; named; stty -F /dev/ttyGS0 raw -echo; names="$names $(port)"; had=$(grep -c PLKTH /tmp/far); back=$(now_ms)
  until [ $(grep -c PLKTH /tmp/far) -gt $((had)) ]; do [ $(($(now_ms) - back)) -lt 15000 ] || { cat /tmp/log; fail "S2: does not come back"; }; usleep 20000; done
  took=$(($(now_ms) - back)); [ $took -gt $worst ] && worst=$took; exec 8<&-; i=$((i + 1))
done
echo "figure: S2 5 replugs, back under$names, first sentence at most $worst ms after (at most 2000)"
[ $worst -le 2000 ] || fail "S2: $worst ms"
kill $reader; stopped

section end
