import { execFileSync, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fstatSync, mkdirSync, readFileSync, rmdirSync } from "node:fs";
import type { Socket } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { mapDef } from "../../../src/asm/index.ts";
import { be16, struct, u32, u64 } from "../../../src/btf/layout/index.ts";
import {
  attachCgroup,
  attachReuseport,
  attachSockmap,
  BpfMap,
  BpfProgram,
  linuxSyscalls,
} from "../../../src/kernel/index.ts";
import { cgroupDevice, skMsg, skReuseport, skSkb, sockOps } from "../../../src/lang/index.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import {
  BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB,
  BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB,
  SK_DROP,
  SK_PASS,
} from "../../../src/uapi/bpf.ts";
import { AF_INET, SO_REUSEPORT, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET } from "../../../src/uapi/net.ts";
import { describeKernel } from "../../support/privileges.ts";
import { openConnection, ownFd } from "../map/sockets.ts";

const sockets = mapDef({ name: "sockets", type: "sockmap", key: u32, value: u32, maxEntries: 4 });
const seen = mapDef({ name: "seen", type: "array", key: u32, value: u64, maxEntries: 4 });

const nextText = async (socket: Socket): Promise<string> => String((await once(socket, "data"))[0]);

describeKernel("programs of maps of sockets", () => {
  test("see what a socket sends, and to which port", async () => {
    const Start = struct("start", { two: be16 });
    const watch = skMsg("watch", ($) => {
      $.update(seen, 0, $.ctx.remote_port.toHost());
      $.lookup(seen, 1, (total) => $.atomic.add(total, $.ctx.size));
      const { two } = $.packet.take(Start, { else: () => $.return(SK_PASS) });
      $.if(two.eq(0x6e6f), () => $.return(SK_DROP)); // "no"
      return $.return(SK_PASS);
    });
    await using tcp = await openConnection();
    using map = BpfMap.create(sockets);
    using values = BpfMap.create(seen);
    using prog = BpfProgram.load(watch, { maps: [values] });
    using _link = attachSockmap(prog, map);
    map.set(0, ownFd(tcp.client));
    const text = nextText(tcp.server);
    tcp.client.write("yes");
    expect(await text).toBe("yes");
    expect(values.get(0)).toBe(BigInt(tcp.client.remotePort ?? 0));
    expect(values.get(1)).toBe(3n);
    const error = new Promise((resolve) => tcp.client.once("error", resolve));
    tcp.client.write("no");
    expect(await error).toMatchObject({ code: "EACCES" }); // dropped
    expect(values.get(1)).toBe(5n);
  });

  test("send back what a socket receives", async () => {
    const echo = skSkb("echo", "sk_skb_verdict", ($) => {
      $.update(seen, 2, $.ctx.remote_port.toHost());
      return $.return($.bpf_sk_redirect_map(sockets, 0, 0));
    });
    await using tcp = await openConnection();
    using map = BpfMap.create(sockets);
    using values = BpfMap.create(seen);
    using prog = BpfProgram.load(echo, { maps: [map, values] });
    using _link = attachSockmap(prog, map);
    map.set(0, ownFd(tcp.server));
    const text = nextText(tcp.client);
    tcp.client.write("hello");
    expect(await text).toBe("hello");
    expect(values.get(2)).toBe(BigInt(tcp.server.remotePort ?? 0));
  });
});

describeKernel("a program for sockets of one address", () => {
  const sys = linuxSyscalls();
  const addressOf = (port: number): Uint8Array =>
    new Uint8Array([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const open = (port: number): { readonly socket: Fd; readonly port: number } => {
    const socket = Fd.own(sys, check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"), "socket");
    const reuse = new Uint8Array([1, 0, 0, 0]);
    check(sys.setsockopt(socket.number, SOL_SOCKET, SO_REUSEPORT, reuse), "setsockopt");
    check(sys.bind(socket.number, addressOf(port)), "bind");
    const name = new Uint8Array(16);
    check(sys.getsockname(socket.number, name), "getsockname");
    return { socket, port: ((name[2] ?? 0) << 8) | (name[3] ?? 0) };
  };

  test("chooses one of them", () => {
    const group = mapDef({
      name: "group",
      type: "reuseport_sockarray",
      key: u32,
      value: u64,
      maxEntries: 2,
    });
    const choose = skReuseport("choose", ($) => {
      const chosen = $.struct(u32, $.lookup(seen, 0, { else: () => $.return(SK_DROP) }).to(u32));
      $.lookup(seen, 1, (lengths) => $.atomic.add(lengths, $.ctx.len));
      $.bpf_sk_select_reuseport(group, chosen, 0);
      return $.return(SK_PASS);
    });
    const first = open(0);
    const second = open(first.port);
    using map = BpfMap.create(group);
    using values = BpfMap.create(seen);
    using prog = BpfProgram.load(choose, { maps: [map, values] });
    try {
      map.set(0, { fd: first.socket.number } as never);
      map.set(1, { fd: second.socket.number } as never);
      using _link = attachReuseport(prog, first.socket.number);
      for (const [turn, chosen] of [1, 0].entries()) {
        values.set(0, BigInt(chosen));
        spawnSync(process.execPath, [
          "-e",
          `require("node:dgram").createSocket("udp4").send("12345", ${first.port}, "127.0.0.1", function () { this.close(); })`,
        ]);
        expect(values.get(1)).toBe(BigInt((turn + 1) * (8 + 5))); // with the UDP header
        expect([waiting(first.socket), waiting(second.socket)]).toEqual([turn === 1, true]);
      }
    } finally {
      for (const { socket } of [first, second]) socket.close();
    }
  });
});

/** Whether a UDP socket has something to be read. */
function waiting({ number }: Fd): boolean {
  const inode = String(fstatSync(number).ino);
  const sockets = readFileSync("/proc/net/udp", "latin1")
    .split("\n")
    .map((line) => line.trim().split(/ +/));
  return sockets.find((columns) => columns[9] === inode)?.[4]?.endsWith(":00000000") === false;
}

describeKernel("programs of a cgroup", () => {
  const root =
    /^\S+ (\S+) cgroup2 /m.exec(readFileSync("/proc/self/mounts", "utf8"))?.[1] ?? "/sys/fs/cgroup";
  const path = `${root}/tsbpf-test-lang-${process.pid}`;
  beforeAll(() => mkdirSync(path));
  afterAll(() => rmdirSync(path));
  /** Runs a command as a process of the cgroup. */
  const run = (...command: readonly string[]): string =>
    execFileSync("sh", ["-c", 'echo $$ > "$0/cgroup.procs" && exec "$@"', path, ...command], {
      encoding: "utf8",
      stdio: "pipe",
      timeout: 20_000,
    });

  test("accompany connections", () => {
    const ports = sockOps("ports", ($) => {
      const { op } = $.ctx;
      $.if(op.eq(BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB), () => {
        $.update(seen, 0, $.ctx.remote_port.toHost());
      });
      $.if(op.eq(BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB), () => {
        $.update(seen, 1, $.ctx.local_port);
      });
      return $.return(1);
    });
    using values = BpfMap.create(seen);
    using prog = BpfProgram.load(ports, { maps: [values] });
    using _link = attachCgroup(prog, path);
    const port = run(
      process.execPath,
      "-e",
      `const server = require("node:net").createServer((end) => { end.destroy(); server.close(); });
       server.listen(0, "127.0.0.1", () => {
         const { port } = server.address();
         console.log(port);
         require("node:net").connect(port, "127.0.0.1").resume();
       });`,
    );
    expect([values.get(0), values.get(1)]).toEqual([BigInt(port), BigInt(port)]);
  });

  test("decide about devices", () => {
    const noZero = cgroupDevice("no_zero", ($) => {
      $.if($.ctx.major.eq(1).and($.ctx.minor.eq(5)), () => $.return(0));
      return $.return(1);
    });
    using prog = BpfProgram.load(noZero);
    using _link = attachCgroup(prog, path);
    run("head", "-c", "1", "/dev/urandom");
    expect(() => run("head", "-c", "1", "/dev/zero")).toThrow("Operation not permitted");
  });
});
