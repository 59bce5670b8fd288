"""The processes of the two hosts, each as small as it can be and still real. Ports are those of their own name space."""

import http.client
import http.server
import json
import os
import socket
import struct
import subprocess
import sys
import threading
import time

PLACE = os.path.dirname(os.path.abspath(__file__))
HOMESERVER = ("192.0.2.10", 8008)
BRIDGE = ("10.9.0.2", 9000)


def conninfo():
    with open(f"{PLACE}/conninfo") as file:
        return file.read().strip()


PSQL = ["/usr/lib/postgresql/15/bin/psql", "-XAtq", "-v", "ON_ERROR_STOP=1"]


class Writer:
    """The one connection that all writes go through. It is opened when the process starts, and never again."""

    def __init__(self):
        self.lock = threading.Lock()
        pipe = subprocess.PIPE
        self.psql = subprocess.Popen(PSQL + [conninfo()], stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, text=True)

    def store(self, text, sender):
        with self.lock:
            self.psql.stdin.write(f"insert into messages (sender, body) values ({quoted(sender)}, {quoted(text)}) returning id;\n")
            self.psql.stdin.flush()
            line = self.psql.stdout.readline()
            if not line.strip():
                raise OSError("the writer is gone")
            return int(line)


def quoted(text):
    return "'" + text.replace("'", "''") + "'"


def ask(sql):
    """Over a connection of its own, as reads go."""
    done = subprocess.run(PSQL + [conninfo(), "-c", sql], capture_output=True, text=True)
    if done.returncode:
        raise OSError(done.stderr.strip())
    return done.stdout


def post(address, path, text, timeout):
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    connection.request("POST", path, text.encode())
    answer = connection.getresponse()
    body = answer.read().decode()
    if answer.status != 200:
        raise OSError(f"{answer.status} {body}")
    return body


def push():
    """What users said goes to the bridge, in order, one at a time; without a time limit, as it was then."""
    while True:
        try:
            rows = ask("select id, body from messages where sender <> 'irc' and not delivered order by id").splitlines()
            for row in rows:
                number, body = row.split("|", 1)
                post(BRIDGE, f"/transactions/{number}", body, None)
                ask(f"update messages set delivered = true where id = {number}")
        except OSError:
            pass
        time.sleep(0.2)


def homeserver():
    writer = Writer()

    class Handler(Quiet):
        def do_GET(self):
            if self.path == "/health":
                return self.say(200, "OK")
            try:
                self.say(200, ask("select sender || ': ' || body from messages order by id"))
            except OSError as error:
                self.say(503, str(error))

        def do_POST(self):
            try:
                self.say(200, str(writer.store(self.body(), self.path.strip("/"))))
            except OSError as error:
                self.say(503, f"not sent: {error}")

    threading.Thread(target=push, daemon=True).start()
    serve(("0.0.0.0", 8008), Handler)


def bridge():
    """Between the homeserver and a file that stands for the other network."""

    class Handler(Quiet):
        def do_POST(self):
            body = self.body()
            with open(f"{PLACE}/asked", "a") as file:
                file.write(body + "\n")
            while os.path.exists(f"{PLACE}/bridge-is-slow"):
                time.sleep(0.05)
            with open(f"{PLACE}/irc", "a") as file:
                file.write(body + "\n")
            self.say(200, "{}")

    # Before it answers: what is said from then on is heard.
    file = open(f"{PLACE}/irc-in")
    file.seek(0, os.SEEK_END)

    def listen():
        while True:
            line = file.readline().strip()
            while line:
                try:
                    post(HOMESERVER, "/irc", line, 2)
                    line = ""
                except OSError:
                    time.sleep(0.3)
            time.sleep(0.1)

    threading.Thread(target=listen, daemon=True).start()
    serve(BRIDGE, Handler)


class Quiet(http.server.BaseHTTPRequestHandler):
    def say(self, status, text):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def body(self):
        return self.rfile.read(int(self.headers["Content-Length"])).decode()

    def log_message(self, *_):
        pass


def serve(address, handler):
    http.server.ThreadingHTTPServer.allow_reuse_address = True
    http.server.ThreadingHTTPServer(address, handler).serve_forever()


def clock(port):
    """A time server that is right, and says so by SNTP."""
    answers = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    answers.bind(("192.0.2.1", port))

    def stamp(moment):
        moment += 2208988800
        return struct.pack("!II", int(moment), int(moment % 1 * 2**32))

    while True:
        question, asker = answers.recvfrom(512)
        now = time.time()
        head = struct.pack("!BBbbII4s", 0x24, 2, 6, -20, 0, 0, b"\x7f\0\0\1")
        answers.sendto(head + stamp(now - 1) + question[40:48] + stamp(now) + stamp(time.time()), asker)


def door():
    """A port at the other site that always answers."""
    listener = socket.create_server(("10.9.0.2", 22))
    while True:
        listener.accept()[0].close()


def get(path):
    connection = http.client.HTTPConnection(*HOMESERVER, timeout=3)
    connection.request("GET", path)
    answer = connection.getresponse()
    print(answer.read().decode())
    return answer.status != 200


if __name__ == "__main__":
    what, *more = sys.argv[1:]
    if what == "clock":
        clock(int(more[0]))
    elif what == "get":
        sys.exit(get(more[0]))
    elif what == "say":
        try:
            print(post(HOMESERVER, "/alice", more[0], 5))
        except OSError as error:
            sys.exit(str(error))
    else:
        {"homeserver": homeserver, "bridge": bridge, "door": door}[what]()
