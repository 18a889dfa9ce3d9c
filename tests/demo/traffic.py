"""Sends one HTTP request after another, each on its own connection, until SIGTERM.

Usage: traffic.py URL. Prints a line when a pod answers for the first time, and at the end the totals:

    first pod3 1790000000.123456
    last pod1 1790000000.120000 2114
    total 4242 failed 0

Times are seconds since the epoch, when the answer had come; the number after a last time counts the pod's
answers. A request that has no answer within 0.9 s has failed: the kernel repeats a lost packet after one
second, so a single lost packet counts.
"""

import http.client
import signal
import sys
import time
from urllib.parse import urlsplit

URL = urlsplit(sys.argv[1])
going = True


def stop(*_):
    """Lets the request that is under way finish."""
    global going
    going = False


def ask():
    """Asks once and returns the name of the pod that answered."""
    connection = http.client.HTTPConnection(URL.hostname, URL.port or 80, timeout=0.9)
    try:
        connection.request("GET", URL.path or "/")
        return connection.getresponse().read().decode().split()[0]
    finally:
        connection.close()


signal.signal(signal.SIGTERM, stop)
# Ctrl-C is for the demo, which ends this program.
signal.signal(signal.SIGINT, signal.SIG_IGN)
total, failures, answers, last = 0, 0, {}, {}
while going:
    total += 1
    try:
        pod = ask()
    except (OSError, http.client.HTTPException, IndexError) as error:
        failures += 1
        print(f"failure {time.time():.6f} {error!r}", flush=True)
        continue
    now = time.time()
    if pod not in answers:
        print(f"first {pod} {now:.6f}", flush=True)
    answers[pod] = answers.get(pod, 0) + 1
    last[pod] = now
    time.sleep(0.001)
for pod, count in sorted(answers.items()):
    print(f"last {pod} {last[pod]:.6f} {count}")
print(f"total {total} failed {failures}", flush=True)
