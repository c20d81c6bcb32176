# MJPG from a real V4L2 driver (v4l2loopback) to a real serial driver: every picture is whole, so none may be called damaged.
. /bin/lib.sh
BUNDLE=/bundle
modprobe videodev && insmod /ko/v4l2loopback.ko video_nr=0 || fail "no v4l2loopback"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && break; sleep 0.2; done
control keep_format=1
v4l2-ctl -d $CAMERA --set-fmt-video-out=width=160,height=120,pixelformat=MJPG || fail "the format"
# One picture a write, by whoever holds the device open; about 15 a second.
( while :; do for picture in /frames/*; do dd if=$picture bs=64k count=1 2> /dev/null || exit; usleep 60000; done; done ) > $CAMERA & player=$!
sleep 1
kill -0 $player 2> /dev/null || fail "the player"

section mjpg
watch_camera $CAMERA,mjpg,160x120
until_said 6 '^$PLKTH,.*,OK,'
stopped
grep -q MJPG /tmp/log || fail "MJPG is not what was opened"
grep -qi 'damaged\|broken' /tmp/log && fail "whole pictures were called damaged"
kill $player
section end
