"""Verify what 'pilotline audit export' wrote; needs Python and nothing else.

    pilotline audit export > events.jsonl && python3 verify_chain.py events.jsonl [HEAD ...]

A HEAD is the hash of an event that was once the last of its chain, kept elsewhere.
"""

import hashlib
import json
import sys

HASHED = ("body", "chain", "effective_from", "kind", "previous", "recorded_at", "seq")
last: dict[str, tuple[int, str]] = {}  # chain -> number and hash of its last event
hashes = set()
if len(sys.argv) < 2:
    print(__doc__, file=sys.stderr)
    sys.exit(2)
with open(sys.argv[1], encoding="utf-8") as lines:
    for line in lines:
        event = json.loads(line)
        seq, previous = last.get(event["chain"], (0, "0" * 64))
        facts = {name: event[name] for name in HASHED}
        text = json.dumps(facts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        found = hashlib.sha256(text.encode()).hexdigest()
        if (event["seq"], event["previous"], event["hash"]) != (seq + 1, previous, found):
            sys.exit(f"{event['chain']}: event {seq + 1} is missing, edited or moved")
        last[event["chain"]] = (event["seq"], found)
        hashes.add(found)
for head in sys.argv[2:]:
    if head not in hashes:
        sys.exit(f"{head}: no chain holds it; events were cut or rewritten")
for chain, (seq, found) in last.items():
    print(f"{chain}: {seq} events, head {found}")
