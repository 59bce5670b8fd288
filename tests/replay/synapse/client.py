"""Two people who use a homeserver: what they do is done through the client API, as their apps would.

client.py STATE populate URL SECRET MESSAGES    makes alice and bob, a room, messages, a picture, keys; writes STATE
client.py STATE send [TEXT]                     alice says TEXT (or what HOLDPOINT_TOKEN holds)
client.py STATE read                            what bob sees in the room, a line a message
client.py STATE login                           bob logs in with his password
client.py STATE picture                         bob fetches the picture, and it is as it was
client.py STATE keys                            how many one-time keys bob's device has left
client.py STATE claim                           alice takes one of them, and says which
client.py STATE phone                           bob logs in on his phone, which calls itself by a name with a zero byte
client.py STATE rename                          bob gives his phone another name
client.py STATE devices                         bob's devices and their names
client.py STATE find NAME                       alice looks for somebody in the user directory
"""

import hashlib
import hmac
import json
import os
import sys
import urllib.error
import urllib.request
import uuid
from urllib.parse import quote

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 64


class Server:
    def __init__(self, url):
        self.url = url

    def ask(self, method, path, body=None, token=None, raw=None):
        headers = {"Content-Type": "image/png" if raw else "application/json"}
        if token:
            headers["Authorization"] = "Bearer " + token
        data = raw if raw is not None else None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                content = answer.read()
                return json.loads(content) if "json" in answer.headers.get("Content-Type", "") else content
        except urllib.error.HTTPError as refused:
            sys.exit("%s %s: %s %s" % (method, path, refused.code, refused.read().decode(errors="replace")))
        except OSError as gone:
            sys.exit("%s %s: %s" % (method, path, gone))

    def register(self, secret, name, password):
        nonce = self.ask("GET", "/_synapse/admin/v1/register")["nonce"]
        mac = hmac.new(secret.encode(), digestmod=hashlib.sha1)
        mac.update(b"\0".join(word.encode() for word in (nonce, name, password, "notadmin")))
        self.ask("POST", "/_synapse/admin/v1/register",
                 {"nonce": nonce, "username": name, "password": password, "admin": False, "mac": mac.hexdigest()})

    def login(self, name, password, device):
        return self.ask("POST", "/_matrix/client/v3/login", {
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": name},
            "password": password, "device_id": device})["access_token"]

    def say(self, token, room, text):
        return self.ask("PUT", "/_matrix/client/v3/rooms/%s/send/m.room.message/%s" % (quote(room), uuid.uuid4()),
                        {"msgtype": "m.text", "body": text}, token)["event_id"]


def populate(state, url, secret, messages):
    server, me = Server(url), "/_matrix/client/v3"
    tokens = {}
    for name in ("alice", "bob"):
        server.register(secret, name, "the password of " + name)
        tokens[name] = server.login(name, "the password of " + name, name.upper())
    alice, bob = tokens["alice"], tokens["bob"]
    users = {name: server.ask("GET", me + "/account/whoami", token=token)["user_id"] for name, token in tokens.items()}
    server.ask("PUT", me + "/profile/%s/displayname" % quote(users["alice"]), {"displayname": "Alice Åström ☕"}, alice)
    room = server.ask("POST", me + "/createRoom", {"name": "Kitchen", "topic": "what to eat", "preset": "public_chat",
                                                   "room_alias_name": "kitchen"}, alice)["room_id"]
    private = server.ask("POST", me + "/createRoom", {"preset": "private_chat", "invite": [users["bob"]]}, alice)["room_id"]
    for place in (room, private):
        server.ask("POST", me + "/join/" + quote(place), {}, bob)
    first = server.say(alice, room, "the oldest message")
    for n in range(int(messages)):
        server.say((alice, bob)[n % 2], (room, private)[n % 5 == 4], "message %d ü 💡" % n)
    last = server.say(alice, room, "a zero \0 byte")
    server.ask("PUT", me + "/rooms/%s/send/m.reaction/1" % quote(room), {"m.relates_to": {
        "rel_type": "m.annotation", "event_id": first, "key": "👍"}}, bob)
    server.ask("POST", me + "/rooms/%s/receipt/m.read/%s" % (quote(room), last), {}, bob)
    server.ask("PUT", me + "/rooms/%s/redact/%s/2" % (quote(room), server.say(alice, room, "regretted")), {}, alice)
    server.ask("PUT", me + "/user/%s/account_data/m.direct" % quote(users["alice"]), {users["bob"]: [private]}, alice)
    server.ask("PUT", me + "/user/%s/rooms/%s/tags/m.favourite" % (quote(users["bob"]), quote(room)), {"order": 0.25}, bob)
    server.ask("PUT", me + "/presence/%s/status" % quote(users["bob"]), {"presence": "online"}, bob)
    keys = {"user_id": users["bob"], "device_id": "BOB", "algorithms": ["m.megolm.v1.aes-sha2"],
            "keys": {"ed25519:BOB": "nothing that anybody would check"}, "signatures": {users["bob"]: {}}}
    server.ask("POST", me + "/keys/upload", {"device_keys": keys, "one_time_keys": {
        "signed_curve25519:AAAA%02d" % n: {"key": "key %d" % n, "signatures": {}} for n in range(20)}}, bob)
    server.ask("PUT", me + "/sendToDevice/m.test/3", {"messages": {users["bob"]: {"BOB": {"word": "waiting"}}}}, alice)
    server.ask("POST", me + "/user/%s/filter" % quote(users["bob"]), {"room": {"timeline": {"limit": 5}}}, bob)
    picture = server.ask("POST", "/_matrix/media/v3/upload", token=bob, raw=PICTURE)["content_uri"]
    with open(state, "w") as file:
        json.dump({"url": url, "room": room, "users": users, "tokens": tokens, "picture": picture}, file)


def main(state, what, *words):
    if what == "populate":
        return populate(state, *words)
    with open(state) as file:
        known = json.load(file)
    server, me = Server(known["url"]), "/_matrix/client/v3"
    alice, bob = known["tokens"]["alice"], known["tokens"]["bob"]
    if what == "send":
        server.say(alice, known["room"], words[0] if words else os.environ["HOLDPOINT_TOKEN"])
    elif what == "read":
        at, more = "", True
        while more:
            page = server.ask("GET", me + "/rooms/%s/messages?dir=b&limit=500%s" % (quote(known["room"]), at), token=bob)
            for event in page["chunk"]:
                if event["type"] == "m.room.message" and "body" in event["content"]:
                    print(event["content"]["body"].replace("\0", "<NUL>"))
            more = "end" in page
            at = "&from=" + quote(page.get("end", ""))
    elif what == "login":
        server.login("bob", "the password of bob", "NEW")
    elif what == "picture":
        content = server.ask("GET", "/_matrix/client/v1/media/download/" + known["picture"][len("mxc://"):], token=bob)
        sys.exit(0 if content == PICTURE else "it is another picture")
    elif what == "keys":
        counts = server.ask("POST", me + "/keys/upload", {}, bob)["one_time_key_counts"]
        print(counts.get("signed_curve25519", 0))
    elif what == "claim":
        found = server.ask("POST", me + "/keys/claim", {"one_time_keys": {known["users"]["bob"]: {
            "BOB": "signed_curve25519"}}}, alice)["one_time_keys"]
        print(*found[known["users"]["bob"]]["BOB"])
    elif what == "phone":
        server.ask("POST", me + "/login", {
            "type": "m.login.password", "identifier": {"type": "m.id.user", "user": "bob"},
            "password": "the password of bob", "device_id": "PHONE", "initial_device_display_name": "Bob's\0phone"})
    elif what == "rename":
        server.ask("PUT", me + "/devices/PHONE", {"display_name": "Bob's phone"}, bob)
    elif what == "devices":
        for device in server.ask("GET", me + "/devices", token=bob)["devices"]:
            print(device["device_id"], device.get("display_name"))
    elif what == "find":
        for found in server.ask("POST", me + "/user_directory/search", {"search_term": words[0]}, alice)["results"]:
            print(found["user_id"])
    else:
        sys.exit("what is `%s`?" % what)


main(*sys.argv[1:])
