# The built-in clip through a real camera driver: played into vivid's HDMI output, which its HDMI input sees, which lookout watches.
. /bin/lib.sh
modprobe vivid n_devs=1 node_types=0x101 num_inputs=1 input_types=3 num_outputs=1 output_types=1 || fail "no vivid"
for i in 1 2 3 4 5 6 7 8 9 10; do [ -c /dev/video1 ] && break; sleep 0.2; done
for node in 0 1; do # 30 Hz would be below the slowest pixel clock that vivid takes
  v4l2-ctl -d $node --set-dv-bt-timings cvt,width=640,height=480,fps=40 > /tmp/v4l2 2>&1 || { cat /tmp/v4l2; fail "timings"; }
done
v4l2-ctl -d 0 -v width=320,height=240,pixelformat=GREY
v4l2-ctl -d 1 -x width=320,height=240,pixelformat=GREY
v4l2-ctl -d 0 -c loop_video=1,osd_text_mode=2

section classes
watch_camera $CAMERA,grey,320x240@40
tries=300
until grep -q 'open, 115200' /tmp/log; do # bundle proven, camera open: the clip must not begin unseen
  tries=$((tries - 1)); [ $tries -gt 0 ] && kill -0 $pid 2> /dev/null || { cat /tmp/log; fail "not watching after 60 s"; }
  sleep 0.2
done
v4l2-ctl -d 1 --stream-out-mmap --stream-from=/clip.grey > /tmp/player 2>&1 || { cat /tmp/player; fail "the player"; }
stopped
section end
