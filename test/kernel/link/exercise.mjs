// What a test's cgroup programs see: run by Node.js inside the cgroup. It talks to itself over loopback, and ends.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";

for (const [family, host] of [
  ["udp4", "127.0.0.1"],
  ["udp6", "::1"],
]) {
  const server = createSocket(family);
  server.bind(0, host);
  await once(server, "listening");
  const { port } = server.address();
  const client = createSocket(family);
  client.send("unconnected", port, host);
  await once(server, "message");
  client.setBroadcast(true);
  client.getRecvBufferSize();
  client.close();
  const connected = createSocket(family);
  connected.connect(port, host);
  await once(connected, "connect");
  connected.remoteAddress();
  connected.close();
  server.close();
}

for (const address of [{ port: 0, host: "127.0.0.1" }, { port: 0, host: "::1" }, { path: process.argv[2] }]) {
  const server = createServer((socket) => socket.end(socket.remoteAddress ?? ""));
  server.listen(address);
  await once(server, "listening");
  const { port } = server.address();
  const client = connect(address.path === undefined ? { ...address, port } : address);
  client.resume();
  await once(client, "close");
  server.close();
}
rmSync(process.argv[2], { force: true });
readFileSync("/proc/sys/kernel/ostype");
