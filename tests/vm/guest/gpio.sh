# The GPIO sink's tests against gpio-sim: busy lines, chips that move, pulses, safe levels. Given: /bin/gpio-tests, /ko/gpio-sim.ko.
mount | grep -q configfs || { modprobe configfs 2> /dev/null; mount -t configfs configfs /sys/kernel/config; }
insmod /ko/gpio-sim.ko || { echo "FAIL: no gpio-sim"; exit 1; }
timeout 800 /bin/gpio-tests --ignored --test-threads=1 --color=never
