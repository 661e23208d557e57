"""The one-box factory: what ``pilotline up`` keeps running, and how it stands."""
