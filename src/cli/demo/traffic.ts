// The two ends of the demo's UDP and TCP traffic, run as child processes so that each can have a core and a network
// namespace of its own: `traffic server` echoes what it gets, `traffic client udp|tcp ADDRESS PORT COUNT` sends, checks the
// echoes, and prints how many came back as JSON. It sends one packet at a time, and both end by themselves.
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { connect, createServer } from "node:net";

/** What the client got back. */
export interface TrafficResult {
  /** Packets that were echoed as they were sent. */
  readonly echoed: number;
}

/** The ports that the server listens on. */
export interface TrafficPorts {
  readonly udp: number;
  readonly tcp: number;
}

/** Neither end lives longer than this. */
const LIFETIME_MS = 20_000;
const ANSWER_MS = 1_000;

const [role, kind, address = "", port, count] = process.argv.slice(2);
setTimeout(() => process.exit(1), LIFETIME_MS).unref();
if (role === "server") await serve();
if (role === "client") {
  const send = kind === "udp" ? sendUdp : sendTcp;
  const echoed = await send(address, Number(port), Number(count));
  process.stdout.write(`${JSON.stringify({ echoed } satisfies TrafficResult)}\n`);
}

async function serve(): Promise<void> {
  const udp = createSocket("udp4");
  udp.on("message", (message, from) => udp.send(message, from.port, from.address));
  udp.bind(0);
  const tcp = createServer({ noDelay: true }, (socket) => socket.pipe(socket));
  tcp.listen(0, "0.0.0.0");
  await Promise.all([once(udp, "listening"), once(tcp, "listening")]);
  const { port } = tcp.address() as { port: number };
  process.stdout.write(`${JSON.stringify({ udp: udp.address().port, tcp: port } satisfies TrafficPorts)}\n`);
  setTimeout(() => process.exit(0), LIFETIME_MS);
}

async function sendUdp(address: string, port: number, count: number): Promise<number> {
  const socket = createSocket("udp4");
  let echoed = 0;
  for (let index = 0; index < count; index++) {
    const text = `datagram ${index}`;
    const answer = once(socket, "message", { signal: AbortSignal.timeout(ANSWER_MS) });
    socket.send(text, port, address);
    const [message] = await answer.catch(() => [undefined]);
    if (message?.toString() === text) echoed++;
  }
  socket.close();
  return echoed;
}

async function sendTcp(address: string, port: number, count: number): Promise<number> {
  const socket = connect({ host: address, port, noDelay: true });
  socket.on("error", () => {});
  let echoed = 0;
  try {
    await once(socket, "connect", { signal: AbortSignal.timeout(ANSWER_MS) });
    for (let index = 0; index < count; index++) {
      const text = `segment ${index}`;
      const answer = once(socket, "data", { signal: AbortSignal.timeout(ANSWER_MS) });
      socket.write(text);
      const [data] = await answer;
      if (data.toString() === text) echoed++;
    }
    // Both sides say goodbye before this process ends: nothing is sent behind its back then.
    const closed = once(socket, "close", { signal: AbortSignal.timeout(ANSWER_MS) });
    socket.end();
    await closed;
  } catch {
    // no answer: what came back so far is the result
  }
  socket.destroy();
  return echoed;
}
