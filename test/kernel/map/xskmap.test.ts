import { afterAll, beforeAll, expect, test } from "vitest";
import { call, exit, lddw, mapDef, mapFd, mov32, r1, r2, r3, xdp } from "../../../src/asm/index.ts";
import { u32 } from "../../../src/btf/layout/index.ts";
import { BpfMap } from "../../../src/kernel/map.ts";
import { BpfProgram } from "../../../src/kernel/program.ts";
import { check } from "../../../src/syscall/errno.ts";
import { Fd } from "../../../src/syscall/fd.ts";
import { XDP_PASS, XDP_REDIRECT } from "../../../src/uapi/bpf.ts";
import { bpf_redirect_map } from "../../../src/uapi/helpers.ts";
import { AF_XDP, SOCK_CLOEXEC, SOCK_RAW } from "../../../src/uapi/net.ts";
import { inNetns } from "../../support/in-netns.ts";
import { createTestNet, type TestNet } from "../../support/netns.ts";
import { describeKernel } from "../../support/privileges.ts";
import { tracedSyscalls } from "../syscall/support.ts";

const sys = tracedSyscalls();
const queues = mapDef({ name: "queues", type: "xskmap", key: u32, value: u32, maxEntries: 2 });
const toUser = xdp("to_user", {
  entry: [lddw(r1, mapFd(queues)), mov32(r2, 1), mov32(r3, XDP_PASS), call(bpf_redirect_map), exit()],
});
let net: TestNet;

describeKernel("xskmap", () => {
  beforeAll(async () => {
    net = await createTestNet();
  });
  afterAll(() => net.dispose());

  const socket = (): Fd =>
    Fd.own(sys, check(sys.socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0), "socket(AF_XDP)"), "XDP socket");

  test("sockets come and go, and programs redirect to those that are there", () => {
    inNetns(net.inside.path, () => {
      using map = BpfMap.create(queues, { sys });
      using prog = BpfProgram.load(toUser, { sys, maps: [map] });
      const run = (): number => prog.testRun({ data: new Uint8Array(64) }).retval;
      expect(run()).toBe(XDP_PASS);
      using xsk = socket();
      map.set(1, { fd: xsk.number });
      expect(run()).toBe(XDP_REDIRECT);
      expect(map.delete(1)).toBe(true);
      expect(run()).toBe(XDP_PASS);
      map.set(1, xsk.number);
      expect(run()).toBe(XDP_REDIRECT);
      xsk.close();
    });
  });

  test("user space cannot read it, and is told what it takes", () => {
    using map = BpfMap.create(queues, { sys });
    expect(() => map.get(0)).toThrow("User space cannot read a map of type xskmap.");
    expect(() => map.set(0, map)).toThrow("Its values are AF_XDP sockets.");
    using xsk = socket();
    expect(() => map.set(2, xsk.number)).toThrow("Its keys go from 0 to 1.");
  });
});
