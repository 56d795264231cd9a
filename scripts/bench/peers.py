"""How each proxy is started for the comparison: as a forward proxy on loopback, one worker, logs and caches off, and everything
that its manual offers for speed. The product is here too, with its rules and its access log on.

A peer is a function of the folder that it may use, the port that it listens on, and whether thousands of connections are to
come; it returns the command, which stays in the foreground.
"""

import json
import os
import pathlib
import shutil

ORIGIN = "127.0.0.2:8000"
# Connections of the memory workloads, and room for others.
ROOM = 20000
# Proxies that answer no CONNECT.
WITHOUT_CONNECT = {"haproxy", "nginx"}
# Proxies that keep no client connection, so that none can be idle.
WITHOUT_KEEP_ALIVE = {"tinyproxy"}
# What is to be known beside the figures.
REMARKS = {
    "nginx": "one fixed upstream, so no name and no destination is looked at: a reverse proxy's best case",
    "haproxy": "destination taken from the request; no CONNECT",
    "tinyproxy": "closes every connection after its answer",
}


def program(name):
    return shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return str(path)


def product(folder, port, many=False, workers=1, idle_hosts=128, deny=()):
    binary = pathlib.Path("target/release/rust-forward-proxy").resolve()
    config = write(folder, "config.yml", f"""
listen_addr: "127.0.0.1:{port}"
log_level: "warn"
runtime: {{ mode: "multi_process", process_count: {workers} }}
limits: {{ max_connections: {ROOM} }}
upstream: {{ max_idle_per_host: 128, max_idle: {max(1000, idle_hosts)}, idle_timeout: 10m }}
timeouts: {{ client_idle: 10m }}
access:
  clients: ["loopback", "10.0.0.0/8"]
  destinations:
    deny: [{", ".join(json.dumps(entry) for entry in ["special", ".blocked.example", *deny])}]
    allow: ["127.0.0.0/8"]
  connect_ports: [443, 8000]
  local_client_bypass: false
logging: {{ console: true, file: null }}
access_log: {{ file: "{folder}/access.log", format: "json" }}
admin: {{ listen_addr: "127.0.0.1:{port + 1000}", socket_path: "{folder}/admin.sock" }}
""")
    return [str(binary), "--config", config]


# What the cost of a request must not grow with, and the product's settings and the load's arguments for it.
GROWTH = {
    "as it is": ({}, []),
    "4 workers": ({"workers": 4}, []),
    "10,000 idle clients": ({}, ["--idle-clients", "10000"]),
    "connections to 10,000 other hosts kept": ({"idle_hosts": 12000}, ["--hosts", "10000"]),
    "1,000 prefixes and 100,000 names denied": ({"deny": [
        *(f"{20 + index % 100}.{index // 256}.{index % 256}.0/24" for index in range(1000)),
        *(f"{'.' * (index % 2)}host-{index}.example-{index % 977}.com" for index in range(100_000)),
    ]}, []),
}


def squid(folder, port, many):
    config = write(folder, "squid.conf", f"""
http_port 127.0.0.1:{port}
http_access allow all
cache deny all
cache_mem 8 MB
access_log none
cache_log {folder}/cache.log
cache_store_log none
pid_filename none
coredump_dir {folder}
dns_nameservers 127.0.0.1
visible_hostname bench
max_filedescriptors {ROOM}
pinger_enable off
shutdown_lifetime 0 seconds
netdb_filename none
""")
    return [program("squid"), "-N", "-f", config]


def haproxy(folder, port, many):
    config = write(folder, "haproxy.cfg", f"""
global
  nbthread 1
  maxconn {ROOM // 3}
defaults
  mode http
  http-reuse always
  timeout connect 5s
  timeout client 600s
  timeout server 600s
  timeout http-keep-alive 600s
frontend forward
  bind 127.0.0.1:{port} backlog 4096
  http-request set-dst url_ip
  http-request set-dst-port url_port
  http-request set-uri %[pathq]
  default_backend any
backend any
  server clear 0.0.0.0:0 pool-max-conn 1000
""")
    return [program("haproxy"), "-f", config, "-db"]


def nginx(folder, port, many):
    config = write(folder, "nginx.conf", f"""
daemon off;
user root;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr crit;
events {{ worker_connections {ROOM}; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  client_body_buffer_size 64k;
  client_body_temp_path {folder}/1; proxy_temp_path {folder}/2; fastcgi_temp_path {folder}/3;
  uwsgi_temp_path {folder}/4; scgi_temp_path {folder}/5;
  upstream origin {{ server {ORIGIN}; keepalive 128; keepalive_requests 1000000000; keepalive_timeout 600; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    location / {{
      proxy_pass http://origin$request_uri;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_max_temp_file_size 0;
      proxy_request_buffering off;
      proxy_buffers 16 16k;
    }}
  }}
}}
""")
    return [program("nginx"), "-c", config, "-p", str(folder)]


def tinyproxy(folder, port, many):
    config = write(folder, "tinyproxy.conf", f"""
Port {port}
Listen 127.0.0.1
Timeout 600
MaxClients {ROOM}
LogFile "{folder}/log"
LogLevel Error
PidFile "{folder}/pid"
DisableViaHeader Yes
""")
    return [program("tinyproxy"), "-d", "-c", config]


def apache2(folder, port, many):
    # A thread serves a connection; more than are needed make each dearer.
    threads = 4000 if many else 128
    modules = "/usr/lib/apache2/modules"
    config = write(folder, "apache.conf", f"""
ServerRoot {folder}
ServerName bench
PidFile {folder}/pid
DefaultRuntimeDir {folder}
Mutex sem
LoadModule mpm_event_module {modules}/mod_mpm_event.so
LoadModule authz_core_module {modules}/mod_authz_core.so
LoadModule proxy_module {modules}/mod_proxy.so
LoadModule proxy_http_module {modules}/mod_proxy_http.so
LoadModule proxy_connect_module {modules}/mod_proxy_connect.so
Listen 127.0.0.1:{port}
User www-data
Group www-data
ErrorLog {folder}/error.log
LogLevel crit
StartServers 1
ServerLimit 1
ThreadLimit {threads}
ThreadsPerChild {threads}
MinSpareThreads {threads}
MaxSpareThreads {threads}
MaxRequestWorkers {threads}
MaxConnectionsPerChild 0
KeepAlive On
MaxKeepAliveRequests 0
KeepAliveTimeout 600
Timeout 600
ProxyRequests On
ProxyVia Off
AllowCONNECT 1-65535
ProxyTimeout 600
<Proxy "http://{ORIGIN}">
  ProxySet enablereuse=On max={threads}
</Proxy>
""")
    return [program("apache2"), "-f", config, "-DFOREGROUND"]


def trafficserver(folder, port, many):
    etc = folder / "etc"
    shutil.copytree("/etc/trafficserver", etc)
    for name in ("run", "log", "cache"):
        (folder / name).mkdir()
    records = {
        "http.server_ports STRING": f"{port}:ipv4:ip-in=127.0.0.1",
        "exec_thread.autoconfig INT": 0,
        "exec_thread.limit INT": 1,
        "exec_thread.affinity INT": 0,
        "accept_threads INT": 0,
        "task_threads INT": 1,
        "http.cache.http INT": 0,
        "url_remap.remap_required INT": 0,
        "log.logging_enabled INT": 0,
        "http.connect_ports STRING": "*",
        "http.server_session_sharing.pool STRING": "thread",
        "http.server_session_sharing.match STRING": "ip",
        "http.keep_alive_no_activity_timeout_in INT": 600,
        "http.keep_alive_no_activity_timeout_out INT": 600,
        "net.default_inactivity_timeout INT": 600,
        "net.connections_throttle INT": ROOM - 1000,
        "http.insert_request_via_str INT": 0,
        "diags.debug.enabled INT": 0,
        "dns.nameservers STRING": "127.0.0.1",
        "dns.resolv_conf STRING": "NULL",
        "admin.user_id STRING": "#-1",
    }
    write(etc, "records.config", "".join(f"CONFIG proxy.config.{key} {value}\n" for key, value in records.items()))
    write(etc, "storage.config", f"{folder}/cache 16M\n")
    write(etc, "ip_allow.yaml", "ip_allow:\n  - { apply: in, ip_addrs: 127.0.0.0/8, action: allow, methods: ALL }\n")
    root = write(folder, "runroot.yaml", f"""
prefix: /usr
exec_prefix: /usr
bindir: /usr/bin
sbindir: /usr/bin
sysconfdir: {etc}
datadir: {folder}/cache
includedir: /usr/include
libdir: /usr/lib/trafficserver
libexecdir: /usr/lib/trafficserver/modules
localstatedir: {folder}
runtimedir: {folder}/run
logdir: {folder}/log
cachedir: {folder}/cache
""")
    return [program("traffic_server"), f"--run-root={root}"]


# By name: how it is started, the program, and the arguments that have it say its version.
PEERS = {
    "squid": (squid, "squid", ["-v"]),
    "haproxy": (haproxy, "haproxy", ["-v"]),
    "nginx": (nginx, "nginx", ["-v"]),
    "tinyproxy": (tinyproxy, "tinyproxy", ["-v"]),
    "apache2": (apache2, "apache2", ["-v"]),
    "trafficserver": (trafficserver, "traffic_server", ["--version"]),
}
