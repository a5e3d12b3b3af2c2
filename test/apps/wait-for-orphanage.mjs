// Before swarm's own preload in a child: waits until the master is gone, and the channel to it is closed.
const deadlineMs = Date.now() + 60_000;
while (process.connected && Date.now() < deadlineMs) await new Promise((resolve) => setTimeout(resolve, 10));
