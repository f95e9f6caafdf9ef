"""The calls that `tests.bench.inference` times: the same lines for this project and for the predecessor.

    python inference_peer.py MODULE

Imports the module, core or spiraltorch, and answers lines {"call": name, "size": n, "seconds": s} on standard input
with calls a second, one JSON number each, until the input ends.
"""

import importlib
import json
import sys
import time


def values(n, turn=0):
    """Numbers between -1 and 1, the same everywhere."""
    return [((i + turn) * 37 % 19 - 9) / 11 for i in range(n)]


def calls(st, n):
    """Each call by name: decode a latent of n values, blend three partials, infer from one partial and from three."""
    z, gradient = values(n), values(n, 5)
    seen = {"speed": 0.3, "mem": -0.2}
    told = {"psi": {"energy": 2, "focus": 0.4}}
    three = [{"speed": 0.3, "memory": 0.1}, {"speed": 0.2, "gradient": gradient, "gradient_basis": "b"}, {"drs": 0.3}]
    return {
        "decode": lambda: st.decode_zspace_embedding(z),
        "blend": lambda: st.blend_zspace_partials(three, weights=[1.0, 2.0, 0.5]),
        "infer": lambda: st.infer_from_partial(z, seen, telemetry=told),
        "infer with three": lambda: st.infer_with_partials(z, *three, telemetry=told),
    }


def rate(call, seconds):
    """Calls a second over so many seconds, in the fastest of five parts."""
    call()
    best, count = 0.0, 1
    for _ in range(5):
        while True:
            began = time.perf_counter()
            for _ in range(count):
                call()
            took = time.perf_counter() - began
            best = max(best, count / took)
            if took >= seconds / 10:
                break
            count *= 2
    return best


def main():
    st = importlib.import_module(sys.argv[1])
    for line in sys.stdin:
        ask = json.loads(line)
        print(json.dumps(rate(calls(st, ask["size"])[ask["call"]], ask["seconds"])), flush=True)


if __name__ == "__main__":
    main()
