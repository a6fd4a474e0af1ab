"""The live shell: sockets, clocks and the one queue into the core."""
