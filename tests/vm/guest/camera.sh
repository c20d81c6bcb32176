# From a real V4L2 driver (vivid) to a real serial driver (8250): each pixel format, a damaged buffer, an unplugged camera.
. /bin/lib.sh
BUNDLE=/bundle
modprobe vivid n_devs=1 node_types=0x1 || fail "no vivid"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c $CAMERA ] && break; sleep 0.2; done
[ -c $CAMERA ] || fail "no $CAMERA"

for format in yuyv nv12 grey; do
  section $format
  watch_camera $CAMERA,$format,640x480@25
  until_said 6 '^$PLKTH,.*,OK,'
  stopped
done

section unplug
watch_camera $CAMERA,yuyv,640x480@25
until_said 4 '^$PLKTH,.*,OK,'
control inject_v4l2_buf_flag_error=1
sleep 1
unplug; echo "   unplugged (up $(cut -d' ' -f1 /proc/uptime) s)"
until_said 3 '^$PLKTH,.*,NO CAMERA,'
[ -e $CAMERA ] && fail "$CAMERA is still there"
plug; echo "   plugged in (up $(cut -d' ' -f1 /proc/uptime) s)"
until_said 4 '^$PLKTH,.*,OK,'
stopped

section stall
watch_camera $CAMERA,yuyv,640x480@25
until_said 4 '^$PLKTH,.*,OK,'
control percentage_of_dropped_buffers=100
until_said 3 '^$PLKTH,.*,NO FRAMES,'
control percentage_of_dropped_buffers=0
until_said 4 '^$PLKTH,.*,OK,'
stopped

section refused
ends 1 "plugged in" run --source v4l2:/dev/video9 --report stdout
ends 2 "directory" run --source v4l2:/tmp --report stdout
ends 2 "not a camera" run --source v4l2:/dev/null --report stdout
ends 2 "MJPG" run --source v4l2:$CAMERA,mjpg --report stdout
v4l2-ctl -d $CAMERA --stream-mmap > /dev/null 2>&1 & other=$!
sleep 1
ends 1 "another program" run --source v4l2:$CAMERA --report stdout
kill $other
section end
