import { expect, test } from "vitest";
import {
  add,
  call,
  exit,
  lddw,
  mapDef,
  mapFd,
  mov,
  mov32,
  program,
  r0,
  r2,
  r3,
  r4,
  r10,
  stw,
} from "../../../src/asm/index.ts";
import { u32, u64 } from "../../../src/btf/layout/index.ts";
import { attachReuseport } from "../../../src/kernel/link/socket.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { bpf_sk_select_reuseport } from "../../../src/uapi/helpers.ts";
import { AF_INET, SO_REUSEPORT, SOCK_CLOEXEC, SOCK_DGRAM, SOL_SOCKET } from "../../../src/uapi/net.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const O_NONBLOCK = 0o4000;
const sockets = mapDef({ name: "sockets", type: "reuseport_sockarray", key: u32, value: u64, maxEntries: 4 });
/** Gives every packet to the socket under key 2. */
const choose = program(
  "sk_reuseport",
  "choose",
  {
    entry: [
      stw([r10, -4], 2),
      lddw(r2, mapFd(sockets)),
      mov(r3, r10),
      add(r3, -4),
      mov(r4, 0),
      call(bpf_sk_select_reuseport),
      mov32(r0, 1),
      exit(),
    ],
  },
  { attachType: "sk_reuseport_select" },
);

describeKernel("reuseport_sockarray", () => {
  const address = (port: number): Uint8Array =>
    new Uint8Array([AF_INET, 0, port >> 8, port & 255, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
  const udp = (port = 0): Fd => {
    const number = check(sys.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | O_NONBLOCK, 0), "socket");
    const socket = Fd.own(sys, number, "UDP socket");
    check(sys.setsockopt(number, SOL_SOCKET, SO_REUSEPORT, new Uint8Array([1, 0, 0, 0])), "setsockopt");
    check(sys.bind(number, address(port)), "bind");
    return socket;
  };
  const portOf = (socket: Fd): number => {
    const name = new Uint8Array(16);
    check(sys.getsockname(socket.number, name), "getsockname");
    return ((name[2] ?? 0) << 8) | (name[3] ?? 0);
  };

  test("a program chooses among the sockets of a port", () => {
    using a = udp();
    const port = portOf(a);
    using b = udp(port);
    using c = udp(port);
    using map = BpfMap.create(sockets, { sys });
    using prog = BpfProgram.load(choose, { sys, maps: [map] });
    using _link = attachReuseport(prog, a.number, { sys });
    expect([...map]).toEqual([]);
    map.set(2, { fd: b.number });
    expect([...map.keys()]).toEqual([2]);
    expect(map.get(2)).toBeTypeOf("bigint"); // its cookie
    expect(map.has(1)).toBe(false);
    using sender = udp();
    for (let sent = 0; sent < 20; sent++) {
      check(sys.sendto(sender.number, new Uint8Array(20), 0, address(port)), "sendto");
    }
    const received = [a, b, c].map((socket) => {
      let count = 0;
      while (sys.recv(socket.number, new Uint8Array(100), 0) >= 0) count++;
      return count;
    });
    expect(received).toEqual([0, 20, 0]);
    expect(map.delete(2)).toBe(true);
    expect(map.delete(2)).toBe(false);
  });
});
