// Bounded UDP and TCP traffic, run with plain `node` inside a test namespace (plain JavaScript: it starts in 40 ms,
// a TypeScript loader takes 300). Usage: node traffic.mjs MODE '{"json":"options"}'.
// A server prints `ready PORT` on its own line when it accepts traffic; everyone ends with one line of JSON.
import { createSocket } from "node:dgram";
import { connect, createServer } from "node:net";

const [mode, json] = process.argv.slice(2);
const options = JSON.parse(json ?? "{}");
const print = (line) => process.stdout.write(`${line}\n`);
const finish = (result) => process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
const started = process.hrtime.bigint();
const elapsedMs = () => Number(process.hrtime.bigint() - started) / 1e6;

/** The bytes of packet `n`: its number, then a pattern that makes truncation and mixing visible. */
const payload = (n, size) => {
  const bytes = Buffer.alloc(size, 0x61 + (n % 26));
  if (size >= 4) bytes.writeUInt32BE(n, 0);
  return bytes;
};
const family = (address) => (address.includes(":") ? "udp6" : "udp4");

const modes = {
  /** Sends `count` datagrams of `size` bytes to host:port, waiting `intervalMs` between bursts of `burst`. */
  "udp-send": async ({ host, port, count, size, sport, burst, intervalMs }) => {
    const socket = createSocket(family(host));
    // An ICMP "port unreachable" that comes back is no failure: nobody has to listen.
    socket.on("error", () => {});
    await new Promise((resolve) => socket.bind(sport ?? 0, resolve));
    let sent = 0;
    for (let n = 0; n < count; n++) {
      await new Promise((resolve) =>
        socket.send(payload(n, size), port, host, (error) => {
          if (!error) sent++;
          resolve();
        }),
      );
      if ((n + 1) % burst === 0 && intervalMs > 0)
        await new Promise((resolve) => setTimeout(resolve, intervalMs));
    }
    finish({ sent });
  },

  /** Receives up to `count` datagrams, echoing them if asked; stops early when complete, else at the timeout. */
  "udp-listen": async ({ host, port, count, echo, timeoutMs }) => {
    const socket = createSocket({ type: family(host), recvBufferSize: 4 << 20 });
    const seen = new Set();
    let received = 0;
    let bytes = 0;
    const done = () => finish({ received, distinct: seen.size, bytes });
    const timer = setTimeout(done, timeoutMs);
    // The sender's side says when it is over: what has not arrived a moment later is lost.
    process.stdin.resume().on("end", () => setTimeout(done, 100));
    socket.on("message", (message, from) => {
      received++;
      bytes += message.length;
      if (message.length >= 4) seen.add(message.readUInt32BE(0));
      if (echo) socket.send(message, from.port, from.address);
      if (received === count && !echo) {
        clearTimeout(timer);
        done();
      }
    });
    socket.bind(port, host, () => print(`ready ${socket.address().port}`));
  },

  /** Sends `count` datagrams one at a time and waits for each one's echo (or `replyMs`). */
  "udp-echo": async ({ host, port, count, size, sport, replyMs }) => {
    const socket = createSocket(family(host));
    socket.on("error", () => {});
    await new Promise((resolve) => socket.bind(sport ?? 0, resolve));
    let replies = 0;
    let wake = () => {};
    let expected = Buffer.alloc(0);
    socket.on("message", (message) => {
      if (message.equals(expected)) {
        replies++;
        wake();
      }
    });
    for (let n = 0; n < count; n++) {
      expected = payload(n, size);
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, replyMs);
        wake = () => {
          clearTimeout(timer);
          resolve();
        };
        socket.send(expected, port, host);
      });
    }
    finish({ sent: count, replies });
  },

  /** Echoes everything on `connections` connections, then ends. */
  "tcp-listen": async ({ host, port, connections, timeoutMs }) => {
    let closed = 0;
    let bytes = 0;
    const done = () => finish({ connections: closed, bytes });
    setTimeout(done, timeoutMs);
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      socket.on("data", (chunk) => {
        bytes += chunk.length;
      });
      socket.on("error", () => {});
      socket.on("close", () => {
        closed++;
        if (closed === connections) done();
      });
      socket.pipe(socket);
    });
    server.listen(port, host, () => print(`ready ${server.address().port}`));
  },

  /** `connections` connections in turn, `bytes` each, checking that exactly these bytes come back. */
  "tcp-echo": async ({ host, port, connections, bytes, timeoutMs }) => {
    const message = Buffer.alloc(bytes);
    for (let i = 0; i < bytes; i++) message[i] = (i * 31 + (i >> 8)) & 0xff;
    let intact = 0;
    let echoed = 0;
    let reason = null;
    for (let n = 0; n < connections && reason === null; n++) {
      reason = await new Promise((resolve) => {
        const chunks = [];
        const socket = connect({ host, port });
        const left = Math.max(1, timeoutMs - elapsedMs());
        const timer = setTimeout(() => {
          socket.destroy();
          resolve("timeout");
        }, left);
        socket.on("connect", () => socket.end(message));
        socket.on("data", (chunk) => {
          echoed += chunk.length;
          chunks.push(chunk);
        });
        socket.on("error", (error) => resolve(error.code ?? error.message));
        socket.on("close", () => {
          clearTimeout(timer);
          if (Buffer.concat(chunks).equals(message)) intact++;
          resolve(null);
        });
      });
    }
    finish({ connections, intact, bytesSent: bytes * connections, bytesEchoed: echoed, error: reason });
  },
};

const run = modes[mode];
if (run === undefined) {
  process.stderr.write(`traffic.mjs: unknown mode ${mode}; one of ${Object.keys(modes).join(", ")}\n`);
  process.exit(2);
}
await run(options);
