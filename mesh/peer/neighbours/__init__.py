"""What peers do for one another while the signaling server is away: relays and plans (docs/wire.md, 8)."""
