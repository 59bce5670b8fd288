# Makes the two hosts inside a throw-away Debian. This host is the one with the primary and the homeserver; `far` is the
# other site with the replica and the bridge; `lan` is what lies between them, with a default gateway that leads nowhere else.
cd /srv
mkdir -p site probes store
chmod 755 /srv

# ---- The network ----

ip netns add lan
ip netns add far
on_lan() { ip netns exec lan "$@"; }
far() { ip netns exec far "$@"; }
on_lan ip link set lo up
far ip link set lo up
on_lan ip link add br0 type bridge
ip link add eth0 type veth peer name here netns lan
far ip link add eth0 type veth peer name there netns lan
on_lan sh -euc '
  ip link set here master br0; ip link set there master br0
  ip link set here up; ip link set there up
  ip address add 192.0.2.1/24 dev br0; ip link set br0 up
  echo 0 >/proc/sys/net/ipv4/ip_forward'
far sh -euc '
  ip address add 192.0.2.254/24 dev eth0; ip link set eth0 up
  ip address add 10.9.0.2/32 dev lo
  ip route replace 192.0.2.10/32 dev eth0 src 10.9.0.2
  echo 1 >/proc/sys/net/ipv4/tcp_orphan_retries'
ip link set eth0 up

# The DHCP client: it renews what is still valid, else it binds anew and runs the hook, with the path that it has itself.
# `lease` is how long the server gives it.
cat >site/dhclient <<'END'
#!/bin/bash
lease=$(cat /srv/lease)
if [ "${1:-}" = renew ] && ip -4 address show dev eth0 | grep -q 192.0.2.10; then
  ip address change 192.0.2.10/24 dev eth0 valid_lft "$lease" preferred_lft "$lease"
  exit 0
fi
ip -4 address flush dev eth0
ip address add 192.0.2.10/24 dev eth0 valid_lft "$lease" preferred_lft "$lease"
ip route add default via 192.0.2.1
env -i PATH="$(cat /srv/daemon-path)" /srv/site/hook >>/srv/dhclient.log 2>&1
exit 0     # as the real one: what a hook says is not its business
END
cat >site/hook <<'END'
#!/bin/sh
ip route add 10.9.0.0/16 via 192.0.2.254
END
# A search path with everything but what lives in sbin.
mkdir -p daemon/bin
for program in sh env logger cat; do ln -s "$(command -v "$program")" daemon/bin/; done
echo /srv/daemon/bin >daemon-path
echo 86400 >lease

# ---- The database and its replica ----

truncate -s 96M /disk
mkfs.ext4 -q -F -m 10 /disk
mkdir /var/lib/postgresql/wal
mount -o loop /disk /var/lib/postgresql/wal
chown postgres:postgres /var/lib/postgresql/wal
pg_createcluster 15 main --port 5432 --locale C.UTF-8 -- --wal-segsize=1 --waldir=/var/lib/postgresql/wal/main >/dev/null
cat >/etc/postgresql/15/main/conf.d/site.conf <<'END'
listen_addresses = '*'
fsync = off
min_wal_size = 4MB
max_wal_size = 4MB
wal_sender_timeout = 3s
wal_receiver_status_interval = 1s
hot_standby_feedback = off
END
echo 'host all,replication postgres 10.9.0.2/32 trust' >>/etc/postgresql/15/main/pg_hba.conf
cat >site/start-db <<'END'
#!/bin/bash
pg_ctlcluster 15 main status >/dev/null || pg_ctlcluster 15 main start
END
cat >site/start-replica <<'END'
#!/bin/bash
pg_ctlcluster 15 replica status >/dev/null || ip netns exec far pg_ctlcluster 15 replica start
END

# ---- The homeserver, the bridge, and what an operator has for them ----

program() { printf '#!/bin/bash\n%s\n' "$2" >"$1"; }
program site/start-app '
kill -0 "$(cat /srv/app.pid 2>/dev/null)" 2>/dev/null && exit 0
setsid --fork bash -c "echo \$\$ >/srv/app.pid; exec python3 /srv/site.py homeserver" </dev/null >/srv/app.log 2>&1
for try in {1..200}; do python3 /srv/site.py get /health >/dev/null 2>&1 && exit 0; sleep 0.1; done; exit 1'
program site/restart-app 'kill "$(cat /srv/app.pid)" 2>/dev/null
while kill -0 "$(cat /srv/app.pid)" 2>/dev/null; do sleep 0.05; done; exec /srv/site/start-app'
cp site/restart-app site/restart-app-truly
program site/start-bridge '
kill -0 "$(cat /srv/bridge.pid 2>/dev/null)" 2>/dev/null && exit 0
setsid --fork ip netns exec far bash -c "echo \$\$ >/srv/bridge.pid; exec python3 /srv/site.py bridge" </dev/null >/srv/bridge.log 2>&1
for try in {1..200}; do ip netns exec far bash -c "exec 3<>/dev/tcp/10.9.0.2/9000" 2>/dev/null && exit 0; sleep 0.1; done; exit 1'
program site/restart-bridge 'kill -9 "$(cat /srv/bridge.pid)" 2>/dev/null
while kill -0 "$(cat /srv/bridge.pid)" 2>/dev/null; do sleep 0.05; done; exec /srv/site/start-bridge'
# Programs that an operator of that week would have had; some of them do less than they seem to.
program site/step-clock 'echo "adjusting the clock, by at most 500 ppm"; echo -539.99 >/srv/clock'
program site/renew 'exec /srv/site/dhclient renew'
program site/restart-tunnel 'echo restarted >>/srv/tunnel.log'
program site/reach-back 'exec ip netns exec far python3 /srv/site.py get /health'
program site/page 'echo "$HOLDPOINT_PAGE_CODE" >>/srv/phone'
program site/call 'echo "$HOLDPOINT_PAGE_CODE" >>/srv/other-phone'
program site/write "while [ -e /srv/writing ]; do
  runuser -u postgres -- psql -Xqc \"select pg_logical_emit_message(true, 'w', repeat('x', 200000))\"
  sleep 0.5
done"
program probes/say-here 'exec python3 /srv/site.py say "$HOLDPOINT_TOKEN"'
program probes/read-there 'tail -n 50 /srv/irc'
program probes/say-there 'echo "$HOLDPOINT_TOKEN" >>/srv/irc-in'
program probes/read-here 'python3 /srv/site.py get /messages | tail -n 50'
program probes/backlog 'echo irc "$(runuser -u postgres -- psql -XAtqc "select count(*) from messages where sender <> '\''irc'\'' and not delivered")"'
chmod 755 site/* probes/*
touch irc irc-in asked phone other-phone
echo +0 >clock
echo 'host=/var/run/postgresql user=postgres dbname=postgres' >conninfo
sed -i 's/^local.*/local all all trust/' /etc/postgresql/15/main/pg_hba.conf

# ---- All of it runs ----

setsid --fork ip netns exec lan python3 /srv/site.py clock 123 </dev/null >/dev/null 2>&1
setsid --fork ip netns exec lan python3 /srv/site.py clock 124 </dev/null >/dev/null 2>&1
setsid --fork ip netns exec far python3 /srv/site.py door </dev/null >/dev/null 2>&1
# At its first boot the administrator set the route by hand: the hook has never had to.
site/dhclient
ip route add 10.9.0.0/16 via 192.0.2.254
site/start-db
runuser -u postgres -- psql -Xq <<'END'
create table messages (id bigint generated always as identity primary key, sender text not null, body text not null, delivered boolean not null default false);
select pg_create_physical_replication_slot('replica1', true);
END
pg_createcluster 15 replica --port 5433 >/dev/null
rm -r /var/lib/postgresql/15/replica
far runuser -u postgres -- pg_basebackup -h 192.0.2.10 -U postgres -D /var/lib/postgresql/15/replica -X stream -c fast --no-sync
touch /var/lib/postgresql/15/replica/standby.signal
cat >/etc/postgresql/15/replica/conf.d/site.conf <<'END'
listen_addresses = '*'
fsync = off
cluster_name = 'replica1'
primary_conninfo = 'host=192.0.2.10 user=postgres application_name=replica1 connect_timeout=2'
primary_slot_name = 'replica1'
wal_receiver_timeout = 3s
wal_retrieve_retry_interval = 500ms
min_wal_size = 4MB
max_wal_size = 4MB
END
echo 'host all postgres 192.0.2.10/32 trust' >>/etc/postgresql/15/replica/pg_hba.conf
chown -R postgres:postgres /etc/postgresql /var/lib/postgresql/15
site/start-replica
site/start-app
site/start-bridge
