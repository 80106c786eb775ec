#!/usr/bin/env python3
"""Sends each line of stdin as a message of an Official Account: send.py OA_ID USER_ID < lines"""
import http.client, json, os, socket, sys, time, urllib.request

SOCKET = os.environ.get("ZALO_TOKEND_SOCKET", "/run/zalo-tokend/api.sock")
ZALO = os.environ.get("ZALO_API", "https://openapi.zalo.me")
DEAD = (-216, -220, -124)  # so Zalo says that it does not take the access token
oa, user = sys.argv[1:]

class Keeper(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)

def keeper(method, path, body=None):  # the access token that zalo-tokend has, with its generation
    connection = Keeper("localhost", timeout=120)
    connection.request(method, f"/v1/oas/{oa}/{path}", json.dumps(body) if body else None)
    response = connection.getresponse()
    token = json.load(response)
    if response.status != 200:
        sys.exit(token["detail"])
    token["until"] = time.monotonic() + token["expires_in"]
    return token

def send(token, text):
    message = json.dumps({"recipient": {"user_id": user}, "message": {"text": text}}).encode()
    headers = {"access_token": token["access_token"], "Content-Type": "application/json"}
    request = urllib.request.Request(ZALO + "/v3.0/oa/message/cs", message, headers)
    return json.load(urllib.request.urlopen(request, timeout=30))

token = keeper("GET", "token")
for line in sys.stdin:
    if time.monotonic() > token["until"]:
        token = keeper("GET", "token")
    answer = send(token, line.strip())
    if answer["error"] in DEAD:
        token = keeper("POST", "token/reject", {"generation": token["generation"], "error": answer["error"]})
        answer = send(token, line.strip())
    print("sent" if answer["error"] == 0 else f"not sent: {answer['message']}", flush=True)
