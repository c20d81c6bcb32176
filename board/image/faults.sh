#!/bin/sh
# What systemd does with a lookout that hangs or breaks, and the hardware watchdog with a systemd that does; runs in the image, as root, for test.sh.
# Times in 1/100 s.
#
# The second time it runs, the hardware watchdog has brought the machine back: all that is left to say is when lookout was ready again.
mark=/var/lib/lookout/faults.began
of() { systemctl show lookout.service --property "$1" --value; }
uptime() { read -r seconds rest < /proc/uptime; echo "${seconds%.*}${seconds#*.}"; }
clock() { date +%s%2N; }
say() { echo "faults: $*"; }
until [ "$(of ActiveState)" = active ]; do sleep 0.2; done
if [ -e "$mark" ]; then
  say "machine back $(($(clock) - $(cat "$mark"))), restarts $(of NRestarts)"
  exit
fi
for fault in STOP ABRT; do
  sleep 6                                          # at work, and the watch that systemd keeps is running
  restarts=$(of NRestarts); began=$(uptime)
  kill -$fault "$(of MainPID)"
  until [ "$(of NRestarts)" -gt "$restarts" ] && [ "$(of ActiveState)" = active ]; do sleep 0.1; done
  say "$fault ready again $(($(uptime) - began))"
done
sleep 6
clock > "$mark"; sync
say "systemd stopped"                              # so nobody feeds the watchdog: as if the machine hung
echo 1 > /sys/fs/cgroup/init.scope/cgroup.freeze
